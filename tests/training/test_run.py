"""Complete runs, from a recipe to the run folder, and runs that are killed and resumed."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from textvae.evaluation.diagnosis import described
from textvae.interfaces.text_vae import TextVAE
from textvae.models.checkpoint import last_whole_checkpoint
from textvae.objectives.rate import SPEED, START
from textvae.support.errors import UserError
from textvae.text.corpus import load_corpus
from textvae.text.tokenizer import load_tokenizer
from textvae.training.recipe import read_recipe
from textvae.training.run import run

STEPS, SAVED, KILLED = 16, (4, 8), 11


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with 90 sentences, 3 batches per epoch, and a recipe that uses each callback that has a state."""
    folder = tmp_path_factory.mktemp("run")
    generator = torch.Generator().manual_seed(0)
    lines = [
        " ".join(f"w{int(word)}" for word in torch.randint(12, (int(length),), generator=generator))
        for length in torch.randint(1, 7, (90,), generator=generator)
    ]
    (folder / "text.txt").write_text("\n".join(lines) + "\n")
    recipe = {
        "corpus": {"train": str(folder / "text.txt"), "validation_size": 10, "test_size": 10},
        "tokenizer": {"kind": "words"},
        "model": {
            "latent_size": 3,
            "embedding_size": 4,
            "hidden_size": 6,
            "dropout": 0.2,
            "word_dropout": 0.2,
            "tie_word_embeddings": True,
        },
        "objective": {"free_bits": 1.0, "kl_weight": {"schedule": "linear", "steps": 12}},
        "training": {
            "output_dir": str(folder / "whole"),
            "max_steps": STEPS,
            "per_device_train_batch_size": 8,
            "gradient_accumulation_steps": 3,
            "learning_rate": 8.0,
            "optim": "sgd",
            "decay_on_plateau": {"patience": 1, "start_epoch": 0, "decays": 20},
            "eval_strategy": "steps",
            "eval_steps": 4,
            "save_strategy": "steps",
            "save_steps": 4,
            "save_total_limit": 5,
            "logging_steps": 1,
            "load_best_model_at_end": False,
            "use_cpu": True,
        },
        "evaluation": {"samples": 3},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder


@pytest.fixture(scope="module", autouse=True)
def cache(place):
    """Use a temporary cache folder; the killed run has its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", place / "cache")
        yield


def read(place, name, *overrides):
    return read_recipe(place / "recipe.yaml", [f"training.output_dir={place / name}", *overrides])


@pytest.fixture(scope="module")
def whole(place):
    """The folder of an uninterrupted run, and its evaluation."""
    return place / "whole", run(read(place, "whole"))


@pytest.fixture(scope="module")
def killed(place):
    """The folder of the same run, killed in the middle of an epoch, three steps after its last checkpoint."""
    recipe = yaml.safe_load((place / "recipe.yaml").read_text())
    recipe["training"]["output_dir"] = str(place / "killed")
    (place / "killed.yaml").write_text(yaml.safe_dump(recipe))
    script = Path(__file__).with_name("killed.py")
    command = [sys.executable, str(script), str(place / "killed.yaml"), str(KILLED * 3)]
    environment = {
        "HF_DATASETS_CACHE": str(place / "other-cache"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    ended = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    return place / "killed"


@pytest.fixture
def again(place, killed):
    """A fresh copy of the killed run, in the folder of the recipe."""
    if not (place / "kept").exists():
        shutil.copytree(killed, place / "kept")
    shutil.rmtree(killed)
    shutil.copytree(place / "kept", killed)
    return killed


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-20])


# ---- the folder


def test_a_run_folder_is_all_one_needs(whole):
    folder, result = whole
    found = json.loads((folder / "evaluation.json").read_text())
    assert 0 < found.pop("minutes") < 5
    assert found == described(result)
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert result.iw_samples == 3
    assert result.sentences == 10
    assert read_recipe(folder / "recipe.yaml").training["output_dir"] == str(folder)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    assert len(tokenizer) == model.config.vocab_size == 16
    assert model.config.unk_token_id == tokenizer.unk_token_id == 3


def test_training_rates_fell_or_the_tests_of_resuming_would_prove_less(whole):
    state = json.loads((whole[0] / f"checkpoint-{STEPS}" / "trainer_state.json").read_text())
    assert state["stateful_callbacks"]["DecayOnPlateau"]["attributes"]["decayed"] > 0


def test_a_run_is_not_overwritten_unless_asked(place, whole):
    folder, result = whole
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(UserError, match=r"expected a new run folder, got .*: pass --resume .*, --overwrite"):
        run(read(place, "whole"))
    assert (folder / "model.safetensors").read_bytes() == before
    (folder / "checkpoint-99").mkdir()
    assert run(read(place, "whole"), overwrite=True) == result
    assert not (folder / "checkpoint-99").exists()
    assert (folder / "model.safetensors").read_bytes() == before, "the same seed gives the same weights"


def test_a_failing_run_names_its_fault_before_any_work(place):
    with pytest.raises(UserError, match=r"missing\.txt"):
        run(read(place, "none", "corpus.train=missing.txt"))
    assert not (place / "none").exists()


def test_values_that_do_not_go_together_are_the_users(place):
    with pytest.raises(UserError, match=r"training: --eval_steps must be an integer"):
        run(read(place, "none", "training.eval_steps=2.5", "training.save_steps=2.5"))
    assert not (place / "none").exists()


# ---- killed and resumed


@pytest.mark.slow
def test_the_kill_was_in_the_midst_of_an_epoch(killed):
    assert sorted(int(path.name.split("-")[1]) for path in killed.glob("checkpoint-*")) == list(SAVED)
    state = json.loads((killed / f"checkpoint-{SAVED[-1]}" / "trainer_state.json").read_text())
    assert not math.isclose(state["epoch"], round(state["epoch"]))
    assert not (killed / "model.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "cut",
    [None, "model.safetensors", "trainer_state.json", "optimizer.pt", "scheduler.pt", "rng_state.pth"],
    ids=str,
)
def test_a_killed_run_resumes_to_the_same_weights(place, whole, again, cut):
    """If the last checkpoint is incomplete, the run resumes from the one before."""
    if cut:
        cut_short(again / f"checkpoint-{SAVED[-1]}" / cut)
    assert last_whole_checkpoint(again).name == f"checkpoint-{SAVED[0 if cut else 1]}"
    result = run(read(place, "killed"), resume=True)
    weights, expected = (load_file(folder / "model.safetensors") for folder in (again, whole[0]))
    torch.testing.assert_close(weights, expected, rtol=0, atol=0)
    assert result == whole[1]
    states = [
        json.loads((folder / f"checkpoint-{STEPS}" / "trainer_state.json").read_text())["stateful_callbacks"]
        for folder in (again, whole[0])
    ]
    assert all(state.pop("Clock") for state in states)
    assert states[0] == states[1]


@pytest.mark.slow
def test_resuming_without_a_checkpoint_begins_anew(place, whole, again):
    for checkpoint in again.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    assert last_whole_checkpoint(again) is None
    assert run(read(place, "killed"), resume=True) == whole[1]


def test_resuming_a_finished_run_gives_its_result(place, whole):
    assert run(read(place, "whole"), resume=True) == whole[1]


STOPPED = [
    "training.learning_rate=0",
    "training.early_stopping_patience=2",
    "training.load_best_model_at_end=true",
    "training.decay_on_plateau=null",
]


@pytest.mark.parametrize(
    "options",
    [STOPPED, ["training.max_steps=5", "training.load_best_model_at_end=false"]],
    ids=["early", "mid-epoch"],
)
def test_a_run_that_ended_but_was_not_measured_is_measured_only(place, options, request):
    """If it resumed the finished run, `transformers` would train one more step."""
    name = request.node.callspec.id
    result = run(read(place, name, *options))
    folder = place / name
    weights = load_file(folder / "model.safetensors")
    minutes = json.loads((folder / "evaluation.json").read_text())["minutes"]
    checkpoints = {path.name for path in folder.glob("checkpoint-*")}
    for file in ("model.safetensors", "evaluation.json"):
        (folder / file).unlink()
    assert run(read(place, name, *options), resume=True) == result
    torch.testing.assert_close(load_file(folder / "model.safetensors"), weights, rtol=0, atol=0)
    assert {path.name for path in folder.glob("checkpoint-*")} == checkpoints
    assert json.loads((folder / "evaluation.json").read_text())["minutes"] == pytest.approx(minutes, abs=0.05)


def test_a_run_that_ended_goes_on_if_asked_for_more(place):
    run(read(place, "more", "training.max_steps=3"))
    run(read(place, "more", "training.max_steps=6"), resume=True)
    assert last_whole_checkpoint(place / "more").name == "checkpoint-6"


# ---- weights from elsewhere


def test_a_run_starts_from_a_language_model(place):
    steps = "training.max_steps=1"
    without = run(read(place, "lm", "model.latent_size=0", steps))
    parts = [f"model.{part}={place / 'lm'}" for part in ("start_from", "encoder_from")]
    result = run(read(place, "vae", *parts, steps, "training.learning_rate=1e-12"))
    assert result.reconstruction == pytest.approx(without.neg_elbo)
    source, model = (AutoModel.from_pretrained(place / name) for name in ("lm", "vae"))
    torch.testing.assert_close(model.encoder.embedding.weight, source.decoder.embedding.weight)
    assert source.encoder is None
    for part in parts:
        with pytest.raises(UserError, match="lm to have the same tokens as this run, got different ones"):
            run(read(place, "other", part, "tokenizer.minimum_count=20"))


# ---- other ways to run


def test_a_stream_trains_without_being_stored(place):
    text = place / "text.txt"
    stream = ["corpus.streaming=true", f"corpus.validation={text}", f"corpus.test={text}"]
    result = run(read(place, "stream", *stream, "training.gradient_accumulation_steps=1"))
    assert result.sentences == len([line for line in text.read_text().splitlines() if line])
    state = json.loads((place / "stream" / f"checkpoint-{STEPS}" / "trainer_state.json").read_text())
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    assert len(losses) == STEPS
    assert losses[-1] < losses[0]


def test_the_tokenizer_is_as_the_recipe_says(place):
    """The rarest letters become bytes, and capitals become lower case."""
    corpus = place / "capitals.txt"
    corpus.write_text("ABBA ABBA\n" * 200 + "ABBAÄ\n" * 5)
    pieces = ["kind=sentencepiece", "vocabulary_size=null", "character_coverage=0.98", "lower=true"]
    options = [f"corpus.train={corpus}", "training.max_steps=1", *(f"tokenizer.{piece}" for piece in pieces)]
    run(read(place, "capitals", *options))
    tokenizer = load_tokenizer(place / "capitals")
    assert tokenizer.decode(tokenizer("ABBA Ä").input_ids) == "abba ä"
    assert "<0xC3>" in tokenizer.tokenize("Ä")


def test_early_stopping_ends_a_run_that_no_longer_improves(place):
    run(read(place, "stopped", *STOPPED))
    # The first evaluation is the best; the second and the third are not better.
    assert sorted(path.name for path in (place / "stopped").glob("checkpoint-*")) == [
        "checkpoint-12",
        "checkpoint-4",
        "checkpoint-8",
    ]


def test_terms_go_to_tensorboard(place):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(read(place, "board", "training.report_to=tensorboard", "training.max_steps=4"))
    written = next((place / "board").rglob("events.out.tfevents.*"))
    accumulator = events.EventAccumulator(str(written.parent))
    accumulator.Reload()
    assert accumulator.Tags()["images"] == ["curves"]
    tags = set(accumulator.Tags()["scalars"])
    assert {
        "train/reconstruction",
        "train/kl",
        "train/kl_weight",
        "eval/neg_elbo",
        "eval/active_units",
    } <= tags


# ---- two stages


def test_the_second_stage_has_the_encoder_of_the_first_and_a_new_decoder(place):
    """Compared before the second stage has learnt anything, and with a run without a first stage."""
    still = ["training.max_steps=1", "training.learning_rate=0", "training.decay_on_plateau=null"]
    still += ["model.initial_range=0.5"]  # so that few steps of the first stage change the encoder
    first = ["pretraining.training.learning_rate=0.5", "pretraining.training.max_steps=3"]
    run(read(place, "staged", *still, *first))
    run(read(place, "unstaged", *still))
    staged, unstaged, auto_encoder = (
        load_file(place / name / "model.safetensors") for name in ("staged", "unstaged", "staged/pretraining")
    )
    for name, tensor in staged.items():
        inference = name.startswith(("encoder.", "posterior."))
        assert torch.equal(tensor, auto_encoder[name]) is inference, name
        assert torch.equal(tensor, unstaged[name]) is not inference, name


def test_a_mixture_prior_starts_from_the_first_stage(place):
    """The components cover the posteriors of the first stage; the decoder may be kept too."""
    still = ["training.max_steps=1", "training.learning_rate=0", "training.decay_on_plateau=null"]
    still += [
        "model.initial_range=0.5",
        "model.prior={kind: mixture, components: 2}",
        "model.bag_of_words={}",
    ]
    first = ["pretraining.training.learning_rate=0.5", "pretraining.training.max_steps=3"]
    recipe = read(place, "clusters", *still, *first, "pretraining.keep_decoder=true")
    run(recipe)
    mixture, auto_encoder = (
        load_file(place / name / "model.safetensors") for name in ("clusters", "clusters/pretraining")
    )
    kept = {name: tensor for name, tensor in mixture.items() if not name.startswith("prior.")}
    assert kept.keys() == auto_encoder.keys()
    assert all(torch.equal(tensor, auto_encoder[name]) for name, tensor in kept.items())
    vae = TextVAE.from_pretrained(place / "clusters")
    texts = load_corpus(**recipe.corpus)["train"]["text"]
    means, deviations = vae.encode(texts, convert_to_tensor=True, return_deviations=True)
    prior = vae.model.prior(1, means)
    torch.testing.assert_close(prior.mean[0], means.mean(0), rtol=1e-3, atol=1e-3)
    everything = means.var(0, correction=0) + (deviations**2).mean(0)
    torch.testing.assert_close(prior.variance[0], everything, rtol=1e-2, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("kept", [True, False])
def test_a_kept_decoder_keeps_the_kl_weight_of_its_target_rate(place, kept):
    """With a kept decoder the KL weight continues, because a small weight would let the KL grow; else it restarts."""
    still = ["training.max_steps=1", "training.learning_rate=0", "training.decay_on_plateau=null"]
    still += ["objective.target_rate=1.0", "objective.kl_weight=null", "objective.free_bits=null"]
    first = ["pretraining.objective={target_rate: 1.0}", "pretraining.training.max_steps=8"]
    name = f"rate-{kept}"
    run(read(place, name, *still, *first, f"pretraining.keep_decoder={str(kept).lower()}"))
    left = json.loads((place / name / "pretraining/pretraining.json").read_text())["kl_weight"]
    assert abs(math.log(left / START)) > 3 * SPEED
    state = json.loads((place / name / "checkpoint-1/trainer_state.json").read_text())
    now = state["stateful_callbacks"]["RateMultiplier"]["attributes"]["value"]
    assert abs(math.log(now / (left if kept else START))) <= 1.001 * SPEED


CLASSES = ["model.posterior.kind=classes", "model.prior.kind=classes"]


@pytest.mark.slow
def test_classes_are_learnt_from_few_labels(place):
    """Each sentence has words of a single class; 12 of the 200 sentences have a label."""
    generator = torch.Generator().manual_seed(0)
    rows = ["text,label"]
    for _ in range(240):
        kind = int(torch.randint(2, (), generator=generator))
        words = torch.randint(6, (5,), generator=generator).tolist()
        rows.append(" ".join(f"{'xy'[kind]}{word}" for word in words) + f",{'ab'[kind]}")
    (place / "labelled.csv").write_text("\n".join(rows))
    options = [*CLASSES, f"corpus.train={place / 'labelled.csv'}", "corpus.validation_size=20"]
    options += [
        "corpus.test_size=20",
        "corpus.labelled=12",
        "corpus.labelled_share=0.2",
        "objective.classification=5",
    ]
    options += ["training.decay_on_plateau=null", "training.optim=adamw_torch", "training.learning_rate=0.03"]
    options += ["model.initial_range=null", "training.max_steps=40", "training.gradient_accumulation_steps=1"]
    result = run(read(place, "classes", *options))
    assert result.accuracy > 0.9
    vae = TextVAE.from_pretrained(place / "classes")
    assert vae.model.config.classes == ["a", "b"]


def test_classes_need_labels(place):
    with pytest.raises(UserError, match="expected a stored corpus with labels"):
        run(read(place, "unlabelled", *CLASSES))


@pytest.mark.parametrize("section", ["training", "evaluation"])
def test_posteriors_that_cannot_be_refined_are_named_before_training(place, section):
    folder = place / f"unrefined-{section}"
    labelled = place / "few.csv"
    labelled.write_text("text,label\n" + "a b,x\nc d,y\n" * 30)
    options = [*CLASSES, f"corpus.train={labelled}", f"{section}.refinement={{steps: 2}}"]
    with pytest.raises(
        UserError, match=r"expected a model with one Gaussian z for each sentence, .* leave refi"
    ):
        run(read(place, folder.name, *options))
    assert last_whole_checkpoint(folder) is None
    assert not (folder / "model.safetensors").exists()


def test_looking_whether_posteriors_can_be_refined_changes_no_weights(place, whole):
    refined = run(read(place, "measured", "evaluation.refinement={steps: 5}"))
    weights, expected = (load_file(folder / "model.safetensors") for folder in (place / "measured", whole[0]))
    torch.testing.assert_close(weights, expected, rtol=0, atol=0)
    assert refined.neg_elbo < whole[1].neg_elbo


@pytest.mark.slow
@pytest.mark.parametrize("kept", [False, True])
def test_a_run_resumes_in_either_stage(place, kept):
    """The run is resumed as after a kill in the first stage, at its end, and between both stages."""
    options = ["training.max_steps=8", "pretraining.training.max_steps=8", "training.learning_rate=0.1"]
    if kept:
        options += ["objective.kl_weight=null", "objective.free_bits=null", "objective.target_rate=1.0"]
        options += ["pretraining.objective={target_rate: 1.0}", "pretraining.keep_decoder=true"]
    folder = place / f"stages-{kept}"
    recipe = read(place, folder.name, *options)
    result = run(recipe)
    weights = load_file(folder / "model.safetensors")
    first = folder / "pretraining"
    for left_over in ("between", "end", "midst"):
        for path in [*folder.glob("checkpoint-*"), folder / "model.safetensors", folder / "evaluation.json"]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if left_over != "between":
            (first / "pretraining.json").unlink()
        if left_over == "midst":
            shutil.rmtree(first / "checkpoint-8")
        with pytest.raises(UserError, match="expected a new run folder"):
            run(recipe)
        assert run(recipe, resume=True) == result
        torch.testing.assert_close(load_file(folder / "model.safetensors"), weights, rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["objective.kl_weight=null", "objective.target_rate=2.0"],
        ["training.aggressive={updates: 4, window: 2}", "training.gradient_accumulation_steps=1"],
        ["training.refinement={steps: 2}", "training.gradient_accumulation_steps=1"],
        [
            "model.posterior.normalize_means=0.5",
            "model.bag_of_words.weights=tf_idf",
            "model.decoder.skip_connection=true",
        ],
    ],
    ids=["target-rate", "aggressive", "refinement", "parts"],
)
def test_every_cure_resumes_to_the_same_weights(place, options, request):
    name = request.node.callspec.id
    result = run(read(place, name, *options))
    folder = place / name
    weights = load_file(folder / "model.safetensors")
    for checkpoint in sorted(folder.glob("checkpoint-*")):
        if int(checkpoint.name.split("-")[1]) > SAVED[1]:
            shutil.rmtree(checkpoint)
    assert last_whole_checkpoint(folder).name == f"checkpoint-{SAVED[1]}"
    assert run(read(place, name, *options), resume=True) == result
    torch.testing.assert_close(load_file(folder / "model.safetensors"), weights, rtol=0, atol=0)
