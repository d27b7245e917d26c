"""Written text: no UNK and no loops by default; the user's options win; sampling stays exact."""

from string import ascii_lowercase

import numpy as np
import pytest
import tiny
import torch
from transformers import GenerationConfig

from textvae.interfaces.clustering import cluster_texts
from textvae.interfaces.embedder import TextVAEEmbedder
from textvae.interfaces.readable import CHARACTERS, PIECES, WORDS, readable, unrepeated_run
from textvae.interfaces.text_vae import TextVAE
from textvae.text.tokenizer import train_tokenizer

UNKNOWN = 3
Z = np.random.default_rng(0).normal(size=(5, 3))
SHORT = {"maximum_length": 12}


def rigged(**bias):
    """A model whose logits have these values added, by token."""
    torch.manual_seed(1)
    vae = TextVAE(tiny.model(initial_range=1.0), tiny.tokenizer())
    with torch.no_grad():
        for token, value in bias.items():
            vae.model.output_layer.linear.bias[vae.tokenizer.convert_tokens_to_ids(token)] += value
    return vae


@pytest.fixture(scope="module")
def ignorant():
    """A model that writes UNK at each step."""
    return rigged(**{"<unk>": 1e3})


@pytest.fixture(scope="module")
def looping():
    """A model that writes b, or c if b is forbidden, and so on, and never ends."""
    never = dict.fromkeys(("<pad>", "<s>", "</s>"), -1e3)
    return rigged(**never | {letter: 1e3 - 100 * place for place, letter in enumerate("bcd")})


VERBS = {
    "decode": lambda vae: vae.decode(Z, **SHORT),
    "beams": lambda vae: vae.decode(Z, num_beams=3, **SHORT),
    "sample": lambda vae: vae.sample(5, seed=0, **SHORT),
    "drawn words": lambda vae: vae.sample(5, seed=0, temperature=1.0, **SHORT),
    "drawn beams": lambda vae: vae.sample(5, seed=0, temperature=1.0, num_beams=2, **SHORT),
    "reconstruct": lambda vae: vae.reconstruct(["a b", "z"], **SHORT),
    "interpolate": lambda vae: vae.interpolate("a b", "z", **SHORT),
    "analogy": lambda vae: [vae.analogy("a b", "z", "c", **SHORT)],
    "traverse": lambda vae: vae.traverse("a b", 1, **SHORT),
    "centres": lambda vae: [c.centre for c in clustered(vae)],
    "draws": lambda vae: [text for c in clustered(vae) for text in c.draws],
    "inverse_transform": lambda vae: estimator(vae).inverse_transform(Z),
}


def clustered(vae):
    return cluster_texts(vae, [*ascii_lowercase], 2, "k-means", compare=False, **SHORT).clusters


def estimator(vae):
    found = TextVAEEmbedder()
    found.vae_ = vae
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_nothing_writes_unk(ignorant, verb):
    assert (ignorant.model.generate(torch.tensor(Z), max_new_tokens=3)[:, 1:] == UNKNOWN).all()
    found = VERBS[verb](ignorant)
    assert found
    assert not any("<unk>" in text for text in found)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if not verb.startswith("drawn")])
def test_nothing_loops(looping, verb):
    assert set(looping.decode(Z, no_repeat_ngram_size=0, **SHORT)) == {" ".join("b" * 12)}
    for text in VERBS[verb](looping):
        words = text.split()
        runs = [tuple(words[start : start + WORDS]) for start in range(len(words) - WORDS + 1)]
        assert len(runs) == len(set(runs))
        assert len(words) >= 12, "the text goes on with other words"


def test_a_phrase_may_return(looping):
    """By hand: b b b is followed by b, at its second place by c, which b would repeat, and at its third place by d."""
    assert looping.decode(Z[0], **SHORT) == ["b b b b c b b b d b b b"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"suppress_tokens": []}, "<unk> <unk> <unk>"),
        ({"generation_config": GenerationConfig(suppress_tokens=[])}, "<unk> <unk> <unk>"),
        ({"suppress_tokens": [5]}, "<unk> <unk> <unk>"),
    ],
)
def test_options_of_the_user_win_over_unk(ignorant, options, expected):
    assert ignorant.decode(Z[0], maximum_length=3, **options) == [expected]


def test_forbidden_words_are_forbidden_beside_unk(ignorant):
    plain = ignorant.decode(Z, **SHORT)
    found = ignorant.decode(
        Z, bad_words_ids=[[ignorant.tokenizer.convert_tokens_to_ids(plain[0][0])]], **SHORT
    )
    assert not any(plain[0][0] in text or "<unk>" in text for text in found)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"no_repeat_ngram_size": 0}, "b b b b b b"),
        ({"no_repeat_ngram_size": 1}, "b c d"),
        ({"no_repeat_ngram_size": 2}, "b b c b d b"),
        ({"generation_config": GenerationConfig(no_repeat_ngram_size=0)}, "b b b b b b"),
    ],
)
def test_options_of_the_user_win_over_repetition(looping, options, expected):
    (found,) = looping.decode(Z[0], maximum_length=6, **options)
    assert found.startswith(expected)


def test_drawn_words_are_those_of_the_model():
    """They may repeat, and are the draws as they were, as long as none of them was UNK."""
    torch.manual_seed(1)
    vae = TextVAE(tiny.model(initial_range=1.0), tiny.tokenizer())
    z, options = torch.tensor(np.tile(Z, (20, 1))), {"do_sample": True, "top_k": 0, "max_new_tokens": 12}
    ids = vae.model.generate(z, generator=torch.Generator().manual_seed(4), **options)
    known = ~(ids == UNKNOWN).any(1)
    assert 10 < known.sum() < 100
    found = vae.decode(z, seed=4, temperature=1.0, maximum_length=12)
    for row, text in zip(ids[known].tolist(), np.array(found)[known.numpy()], strict=True):
        words = [number for number in row if number > 2]
        assert text.split() == [ascii_lowercase[number - 4] for number in words]
    looping = rigged(b=1e3)
    assert looping.decode(Z[0], seed=0, temperature=1.0, **SHORT) == [" ".join("b" * 12)]


def test_the_unit_of_the_tokenizer_decides():
    texts = [f"the {a}{b} of a {b}{a}{b}" for a in ascii_lowercase for b in ascii_lowercase]
    words, characters = train_tokenizer(texts, "words"), train_tokenizer(texts, vocabulary_size=300)
    pieces = train_tokenizer(texts, vocabulary_size=1_200, algorithm="bpe")
    assert len(characters) < 1_000 <= len(pieces)
    found = [unrepeated_run(tokenizer) for tokenizer in (words, pieces, characters)]
    assert found == [WORDS, PIECES, CHARACTERS] == [4, 5, 16]


def test_an_unk_that_ends_the_sentence_stays_possible():
    class Shared:
        bos_token_id = eos_token_id = pad_token_id = unk_token_id = 7

        def __len__(self):
            return 50_000

    assert readable({"do_sample": True}, Shared()) == {"do_sample": True}
    assert readable({"do_sample": False}, Shared()) == {"no_repeat_ngram_size": PIECES, "do_sample": False}
