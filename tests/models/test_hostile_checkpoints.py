"""A folder that is not a complete run is refused in one line that says what is wrong: tables of damage."""

import json
import shutil

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from textvae.interfaces.text_vae import TextVAE
from textvae.support.errors import UserError
from textvae.text.tokenizer import train_tokenizer

FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
JSON = [name for name in FILES if name.endswith(".json")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    TextVAE(tiny.model(), tiny.tokenizer()).save_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == FILES
    return folder


@pytest.fixture
def run(whole, tmp_path):
    """A copy of the run that the test may damage."""
    return shutil.copytree(whole, tmp_path / "run")


def refused(run, message):
    with pytest.raises(UserError, match=message) as error:
        TextVAE.from_pretrained(run)
    assert "\n" not in str(error.value)


def halved(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def replaced_by_a_folder(path):
    path.unlink()
    path.mkdir()


DAMAGE = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut in half": halved,
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 9),
    "a folder": replaced_by_a_folder,
}


def test_the_whole_run_loads(run):
    assert TextVAE.from_pretrained(run).encode(["a b"]).shape == (1, tiny.model().config.latent_size)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_refused(run, file, damage):
    DAMAGE[damage](run / file)
    what = {"model.safetensors": "weights", "config.json": "config.json"}.get(file, "tokenizer")
    refused(run, f"expected .*{what}.*: (copy|save) ")


@pytest.mark.parametrize("content", ["[]", "3", "null", '"x"', "{}"])
@pytest.mark.parametrize("file", JSON)
def test_other_json_is_refused(run, file, content):
    (run / file).write_text(content)
    refused(run, "^expected .*(config.json|tokenizer|textvae model)")


CONFIGURATIONS = {
    "latent_size": [
        (0, "weights .* other sizes"),
        (-1, "latent_size: "),
        ("x", "latent_size: "),
        (99, "other sizes"),
    ],
    "hidden_size": [(0, "hidden_size: "), (77, "other sizes"), (None, "hidden_size: ")],
    "vocab_size": [
        (3, "other sizes"),
        (10**5, "other sizes"),
        (-1, "vocab_size: "),
        (0, "positive vocab_size"),
    ],
    "dropout": [(1, "dropout: "), (-0.1, "dropout: "), (float("nan"), "dropout: "), ("x", "dropout: ")],
    "encoder": [
        ({"kind": "no"}, "encoder.kind: "),
        ({"kind": "lstm", "layers": 0}, "encoder.layers: "),
        ({"kind": "lstm", "layers": 2}, "a difference in encoder"),
        ({"kind": "convolution"}, "a difference in encoder"),
        (None, "encoder: "),
        ("lstm", "encoder: "),
    ],
    "decoder": [({"kind": "dilated_convolution"}, "a difference in decoder"), ([], "decoder: ")],
    "prior": [({"kind": "mixture"}, "a difference in prior"), ({"kind": "classes"}, "both of kind classes")],
    "model_type": [
        ("bert", "got one of kind 'bert'"),
        (None, "got one of kind None"),
        (3, "got one of kind 3"),
    ],
    "pad_token_id": [("x", "pad_token_id: "), (1, "pad_token_id 1, got .* pad_token_id 0")],
    "bos_token_id": [(None, "bos_token_id None, got"), (0, "bos_token_id 0, got")],
    "eos_token_id": [
        (None, "eos_token_id None, got"),
        (10**9, "eos_token_id 1000000000, got"),
        (-1, "eos_token_id -1"),
    ],
}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [(key, value, message) for key, cases in CONFIGURATIONS.items() for value, message in cases],
)
def test_another_configuration_is_refused(run, key, value, message):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {key: value}))
    refused(run, message)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(run, value):
    weights = load_file(run / "model.safetensors")
    name = min(weights)
    weights[name].view(-1)[-1] = value
    save_file(weights, run / "model.safetensors", {"format": "pt"})
    refused(run, f"finite weights in .*, got NaN or infinity in {name}")


@pytest.mark.parametrize("change", ["one missing", "one more", "another shape", "none"])
def test_other_weights_are_refused(run, change):
    weights = load_file(run / "model.safetensors")
    name = min(weights)
    match change:
        case "one missing":
            del weights[name]
        case "one more":
            weights["more"] = torch.zeros(1)
        case "another shape":
            weights[name] = torch.zeros(1)
        case "none":
            weights.clear()
    save_file(weights, run / "model.safetensors", {"format": "pt"})
    refused(run, "expected weights in .* that fit its config.json")


def test_the_tokenizer_of_another_run_is_refused(run):
    train_tokenizer(["a b c"], "words").save_pretrained(run)
    refused(
        run,
        r"expected the tokenizers .* vocab_size 30, got those of another, vocab_size 7: copy the whole run",
    )
