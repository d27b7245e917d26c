"""The example's VAE has the bounds, the text and the parameter names of the package's; and it learns."""

import math
import re
import runpy

import pytest
import tiny
import torch
from scripts import ROOT

from textvae.inference.bounds import bounds
from textvae.text.batches import Batch

FILE = ROOT / "examples" / "vae.py"
SIZES = {"E": 6, "D": 8, "Z": 3}


@pytest.fixture(scope="module")
def parts():
    """The names that the example defines."""
    return runpy.run_path(str(FILE))


@pytest.fixture
def pair(parts):
    """The package's model and the example's, with the same weights."""
    model = tiny.model()
    vae = parts["TextVAEModel"](tiny.VOCABULARY, **SIZES).double().eval()
    vae.load_state_dict(model.state_dict())
    return model, vae


@pytest.fixture
def ids():
    return [row["ids"] for row in tiny.sentences()]


def package_batch(rows) -> Batch:
    return tiny.collate([{"ids": row} for row in rows])


def bound_of(parts, vae, batch, seed=1, **options):
    torch.manual_seed(seed)
    with torch.no_grad():
        return parts["neg_elbo"](vae.read(batch), **options)


def test_a_batch_is_the_package_s(parts, ids):
    ours, theirs = parts["collate"](ids), package_batch(ids)
    assert torch.equal(ours.mask, theirs.mask)
    for name in ("inputs", "targets"):
        real = ours.mask
        assert torch.equal(getattr(ours, name)[real], theirs[name][real])


@pytest.mark.parametrize("samples", [1, 3])
def test_the_bound_is_the_package_s_with_the_same_noise(parts, pair, ids, samples):
    model, vae = pair
    torch.manual_seed(1)
    expected = bounds(model, package_batch(ids), samples)
    found, kl = bound_of(parts, vae, parts["collate"](ids), samples=samples)
    torch.testing.assert_close(kl, expected.kl)
    torch.testing.assert_close(found, expected.neg_elbo)


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_beta_weighs_the_kl(parts, pair, ids, beta):
    batch = parts["collate"](ids)
    whole, kl = bound_of(parts, pair[1], batch)
    weighed, _ = bound_of(parts, pair[1], batch, kl_weight=beta)
    torch.testing.assert_close(weighed, whole - (1 - beta) * kl)


def test_its_text_is_the_package_s(pair):
    model, vae = pair
    z = torch.randn(5, 3, dtype=torch.float64)
    ours, theirs = vae.generate(z, 7).tolist(), model.generate(z, max_new_tokens=7).tolist()
    for mine, (_, *row) in zip(ours, theirs, strict=True):
        end = row.index(2) + 1 if 2 in row else len(row)
        assert mine[:end] == row[:end]


@pytest.mark.parametrize("columns", [1, 4])
def test_padding_changes_nothing(parts, pair, ids, columns):
    batch = parts["collate"](ids)
    # Where the mask is False any id may stand, so these are words.
    words = torch.randint(4, tiny.VOCABULARY, (2, len(ids), columns))
    longer = parts["Batch"](
        torch.cat([batch.inputs, words[0]], 1),
        torch.cat([batch.targets, words[1]], 1),
        torch.cat([batch.mask, torch.zeros(len(ids), columns, dtype=torch.bool)], 1),
    )
    for found, expected in zip(
        bound_of(parts, pair[1], longer), bound_of(parts, pair[1], batch), strict=True
    ):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("rate", "unknown"), [(0.0, "none"), (1.0, "all")])
def test_word_dropout_takes_words_of_the_decoder_alone_in_training(parts, ids, monkeypatch, rate, unknown):
    vae = parts["TextVAEModel"](tiny.VOCABULARY, **SIZES, word_dropout=rate)
    batch, read = parts["collate"](ids), {}
    for part in ("encoder", "decoder"):
        getattr(vae, part).register_forward_pre_hook(
            lambda _, given, part=part: read.update({part: given[0]})
        )
    for mode in (True, False):
        bound_of(parts, vae.train(mode), batch)
        assert torch.equal(read["encoder"], batch.targets)
        words = batch.mask & (batch.inputs != parts["BOS"])
        dropped = words & mode & (unknown == "all")
        assert torch.equal(read["decoder"], batch.inputs.masked_fill(dropped, parts["UNK"]))


@pytest.mark.parametrize(("step", "beta"), [(0, 0.0), (35, 0.1), (70, 0.2), (100, 0.2)])
def test_the_kl_weight_rises_to_its_end(parts, step, beta):
    assert parts["kl_weight"](step, 100, end=0.2) == pytest.approx(beta)


@pytest.mark.parametrize(
    ("ids", "text"), [([4, 5, 6, 2, 4], "the dog."), ([5, 3, 6], "dog <unk>."), ([2, 4], ""), ([4], "the")]
)
def test_ids_become_text(parts, ids, text):
    vocabulary = parts["Vocabulary"]([["the", "the", "the", "dog", "dog", ".", ".", "rare"]])
    assert vocabulary.words == ["<pad>", "<s>", "</s>", "<unk>", "the", "dog", "."]
    assert vocabulary.ids(["the", "rare", "."]) == [4, 3, 6]
    assert vocabulary.text(ids) == text


SENTENCES = ["a b c .", "d e f g !", "h i ?", "k l m n o"]


@pytest.fixture
def corpus(apart, tmp_path):
    """A file with four sentences, 16 times each, and one longer sentence."""
    file = tmp_path / "corpus.txt"
    file.write_text("\n".join([*SENTENCES * 16, "too long " * 4]))
    return file


def test_it_learns(example, corpus):
    result = example("vae.py", corpus, "--epochs", 12, "--maximum-words", 6)
    assert result.code == 0, result.err
    epochs, drawn, way = result.out.split("\n\n")
    rows = re.findall(r"beta (\S+) +-ELBO +(\S+) +KL +(\S+)", epochs)
    bound, kl = [float(row[1]) for row in rows], float(rows[-1][2])
    assert len(bound) == 12
    # No model can be better than the entropy of four equally likely sentences, log 4; this one gets near it by z.
    assert math.log(4) < bound[-1] < 0.5 * bound[0]
    assert kl > 0.5 * math.log(4)
    known = {sentence.replace(" .", ".").replace(" !", "!").replace(" ?", "?") for sentence in SENTENCES}
    drawn, way = ([line.strip() for line in part.splitlines()[1:]] for part in (drawn, way))
    assert (len(drawn), len(way)) == (8, 9)
    assert len(known & set(drawn)) > 1, "more than one z says something"
    # The first and the last line are held-out sentences; beside them are the decodings of their posterior means.
    assert way[:2] == [way[0]] * 2
    assert way[-2:] == [way[-1]] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nothing.txt"], "nothing.txt"), (["corpus.txt", "--maximum-words", 2], "of up to 2 words, got none")],
)
def test_a_mistake_is_one_line(example, corpus, arguments, message):
    result = example("vae.py", *arguments)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert message in result.err


def test_the_files_of_the_package_are_where_the_header_says(parts):
    named = re.findall(r"^    (\S.*?) +(textvae/\S+\.py)", parts["__doc__"], re.MULTILINE)
    assert len(named) > 8
    for names, path in named:
        assert (ROOT / path).is_file()
        assert all(name.split(".")[0] in parts for name in names.split(", ")), names
