"""A complete run of a conditional model, from parallel files to a folder that `Translator` loads."""

import json
import shutil

import datasets
import pytest
import torch
import yaml
from safetensors.torch import load_file

from textvae.evaluation.bleu import bleu
from textvae.interfaces.translator import Translator
from textvae.models.checkpoint import last_whole_checkpoint
from textvae.support.errors import UserError
from textvae.text.corpus import load_corpus
from textvae.text.tokenizer import load_tokenizer
from textvae.training.recipe import read_recipe
from textvae.training.run import run

STEPS, SAVED = 8, 4


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a recipe and 60 pairs; each target is its source spelt with other letters."""
    folder = tmp_path_factory.mktemp("pairs")
    generator = torch.Generator().manual_seed(0)
    words = [
        torch.randint(12, (int(length),), generator=generator).tolist()
        for length in torch.randint(1, 7, (60,), generator=generator)
    ]
    for side, letter in (("en", "e"), ("de", "d")):
        lines = (" ".join(f"{letter}{word}" for word in row) for row in words)
        (folder / f"train.{side}").write_text("\n".join(lines) + "\n")
    pairs = {"source": str(folder / "train.en"), "target": str(folder / "train.de")}
    recipe = {
        "corpus": {"train": pairs, "validation_size": 10, "test_size": 10},
        "tokenizer": {"kind": "words", "maximum_length": 9},
        "model": {"kind": "seq2seq", "latent_size": 3, "embedding_size": 4, "hidden_size": 6, "dropout": 0.2},
        "objective": {"free_bits": 1.0, "kl_weight": {"schedule": "linear", "steps": 12}},
        "training": {
            "output_dir": str(folder / "whole"),
            "max_steps": STEPS,
            "per_device_train_batch_size": 8,
            "learning_rate": 0.01,
            "eval_strategy": "steps",
            "eval_steps": SAVED,
            "save_strategy": "steps",
            "save_steps": SAVED,
            "logging_steps": 1,
            "load_best_model_at_end": False,
            "use_cpu": True,
        },
        "evaluation": {"samples": 3, "translation": {"num_beams": 2, "tokenize": "none"}},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder


@pytest.fixture(scope="module", autouse=True)
def cache(place):
    """Use a temporary cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", place / "cache")
        yield


def read(place, name, *overrides):
    return read_recipe(place / "recipe.yaml", [f"training.output_dir={place / name}", *overrides])


@pytest.fixture(scope="module")
def whole(place):
    """The folder of a run, and its evaluation."""
    return place / "whole", run(read(place, "whole"))


def test_a_run_folder_is_all_one_needs(place, whole):
    folder, result = whole
    found = json.loads((folder / "evaluation.json").read_text())
    assert (found["iw_nll"], found["iw_samples"], found["sentences"]) == (result.iw_nll, 3, 10)
    assert found["bleu"] == result.bleu
    assert {"bleu_zero_z", "bleu_shuffled_z"} <= found.keys()
    assert "|tok:none|" in found["bleu_signature"]
    translator = Translator.from_pretrained(folder)
    test = load_corpus(**read(place, "whole").corpus)["test"]
    translations = translator.translate(test["source"][:], num_beams=2)
    assert bleu(translations, test["target"][:], "none").score == pytest.approx(result.bleu)
    assert read_recipe(folder / "recipe.yaml").folder == folder


@pytest.mark.slow
def test_a_run_is_evaluated_again(place, whole, textvae, tmp_path):
    folder, result = whole
    recipe = read(place, "whole")
    how = ("--samples", 3, "--seed", 42, "--json")
    code, out, err = textvae("evaluate", folder, *how)
    assert (code, err) == (0, "")
    again = json.loads(out)
    saved = json.loads((folder / "evaluation.json").read_text())
    assert again == {name: value for name, value in saved.items() if name != "minutes"}
    test = load_corpus(**recipe.corpus)["test"]
    for side in ("source", "target"):
        (tmp_path / side).write_text("\n".join(test[side]) + "\n")
    files = (tmp_path / "source", "--references", tmp_path / "target")
    code, out, _ = textvae("evaluate", last_whole_checkpoint(folder), *files, *how)
    assert (code, json.loads(out)) == (0, again)
    _, out, _ = textvae("evaluate", folder, *files, "--samples", 3)
    assert f"{result.bleu:.3g}" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["source"],
            "expected a file of sources and --references, their translations, or neither, got only one",
        ),
        (["--references", "target"], "expected a file of sources and --references"),
        (["--column", "1"], "expected no --column for a translation run: leave it out"),
    ],
    ids=["no-references", "no-sources", "of-sentences"],
)
def test_what_pairs_do_not_have_is_refused(whole, textvae, arguments, message):
    code, _, err = textvae("evaluate", whole[0], *arguments)
    assert code == 2
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


@pytest.mark.slow
def test_both_sides_share_a_vocabulary_unless_told(place, whole):
    joint = load_tokenizer(whole[0]), load_tokenizer(whole[0] / "source")
    assert joint[0].get_vocab() == joint[1].get_vocab()
    assert len(joint[0]) == 4 + 12 + 12
    run(read(place, "apart", "tokenizer.joint=false", "training.max_steps=1"))
    target, source = load_tokenizer(place / "apart"), load_tokenizer(place / "apart" / "source")
    assert (len(source), len(target)) == (16, 16)
    assert "e3" in source.get_vocab()
    assert "d3" in target.get_vocab()
    assert {tokenizer.model_max_length for tokenizer in (source, target)} == {9}
    Translator.from_pretrained(place / "apart").translate("e1 e2")


def test_a_run_resumes_to_the_same_weights(place, whole):
    folder, result = whole
    weights = load_file(folder / "model.safetensors")
    shutil.rmtree(folder / f"checkpoint-{STEPS}")
    assert last_whole_checkpoint(folder).name == f"checkpoint-{SAVED}"
    assert run(read(place, "whole"), resume=True) == result
    torch.testing.assert_close(load_file(folder / "model.safetensors"), weights, rtol=0, atol=0)


def test_a_checkpoint_translates_too(place, whole):
    translator = Translator.from_pretrained(whole[0] / f"checkpoint-{STEPS}")
    expected = Translator.from_pretrained(whole[0]).translate(["e1 e2 e3"])
    assert translator.translate(["e1 e2 e3"]) == expected


def test_the_model_without_z_has_one_bleu(place):
    result = run(
        read(place, "baseline", "model.latent_size=0", "training.max_steps=1", "objective.free_bits=0")
    )
    assert result.bleu is not None
    assert not {"bleu_zero_z", "bleu_shuffled_z"} & result.keys()


@pytest.mark.slow
def test_a_run_starts_as_another_one(place):
    quick = ["training.max_steps=1", "objective.free_bits=0"]
    without = run(read(place, "start", "model.latent_size=0", *quick))
    start = f"model.start_from={place / 'start'}"
    result = run(read(place, "started", start, "training.learning_rate=1e-12", *quick))
    assert result.bleu == result.bleu_zero_z == result.bleu_shuffled_z == without.bleu
    assert result.reconstruction == pytest.approx(without.neg_elbo)
    with pytest.raises(UserError, match="start to have the same tokens as this run, got different ones"):
        run(read(place, "other", start, "tokenizer.minimum_count=9"))


def test_posteriors_given_a_source_are_refined(place, whole):
    """`textvae evaluate` gives the same result. A model with a z at each step is refused before training."""
    refined = run(read(place, "refined", "evaluation.refinement={steps: 5}"))
    assert refined.neg_elbo < whole[1].neg_elbo
    weights, expected = (load_file(folder / "model.safetensors") for folder in (place / "refined", whole[0]))
    torch.testing.assert_close(weights, expected, rtol=0, atol=0)
    for option in ("evaluation", "training"):
        latent = ["model.latent.kind=step", f"{option}.refinement={{steps: 5}}"]
        with pytest.raises(UserError, match="expected a model with one Gaussian z for each sentence"):
            run(read(place, f"{option}-steps", *latent))
        assert last_whole_checkpoint(place / f"{option}-steps") is None
        assert not (place / f"{option}-steps" / "model.safetensors").exists()


@pytest.mark.slow
def test_a_stream_of_pairs_trains(place):
    rows = place / "pairs.jsonl"
    rows.write_text(
        "\n".join(json.dumps({"translation": {"en": f"e{n} e{n + 1}", "de": f"d{n}"}}) for n in range(30))
    )
    columns = "corpus.columns={source: translation.en, target: translation.de}"
    files = [f"corpus.{split}={rows}" for split in ("train", "validation", "test")]
    sizes = ["corpus.validation_size=null", "corpus.test_size=null", "training.max_steps=2"]
    result = run(read(place, "stream", columns, *files, *sizes, "corpus.streaming=true"))
    assert result.sentences == 30
    assert result.tokens == 60


def test_sentences_are_no_pairs_and_pairs_no_sentences(place):
    lines = f"corpus.train={place / 'train.en'}"
    with pytest.raises(
        UserError, match="expected a corpus with source and target, got one with text: name the columns"
    ):
        run(read(place, "none", lines))
    text = yaml.safe_load((place / "recipe.yaml").read_text())
    del text["model"]["kind"], text["evaluation"]["translation"]
    (place / "language.yaml").write_text(yaml.safe_dump(text))
    with pytest.raises(UserError, match="expected a corpus with text, got one with source, target"):
        run(read_recipe(place / "language.yaml", [f"training.output_dir={place / 'none'}"]))
    assert not (place / "none").exists()
