import json

import pytest
import tiny
import torch

from textvae.interfaces.text_vae import TextVAE


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(1)
    return TextVAE(tiny.model(initial_range=1.0, classes=["news", "sport"]), tiny.tokenizer())


@pytest.fixture
def trained(vae, tmp_path):
    vae.save_pretrained(tmp_path / "run")
    (tmp_path / "lines.txt").write_text("a b c\n\nd e\n")
    return tmp_path / "run", tmp_path / "lines.txt"


def test_each_line_gets_its_likeliest_class(textvae, vae, trained):
    probabilities = vae.classify(["a b c", "", "d e"])
    code, out, _ = textvae("classify", *trained)
    assert code == 0
    expected = [
        f"{('news', 'sport')[row.argmax()]}\t{row.max():.3f}\t{text}"
        for text, row in zip(["a b c", "", "d e"], probabilities, strict=True)
    ]
    assert out.splitlines() == expected
    rows = json.loads(textvae("classify", *trained, "--json")[1])
    assert [row["probabilities"]["sport"] for row in rows] == pytest.approx(probabilities[:, 1].tolist())


def test_a_sample_has_the_class_that_is_asked_for(textvae, vae, trained):
    same = [textvae("sample", trained[0], "--class", name, "--seed", 3)[1] for name in ("news", "sport")]
    assert same[0] != same[1]
    assert same[1].splitlines() == vae.sample(8, label="sport", seed=3)


def test_a_class_must_exist(textvae, trained, tmp_path):
    code, _, error = textvae("sample", trained[0], "--class", "weather")
    assert (code, error.count("\n")) == (2, 1)
    assert "expected label to be one of news, sport, got 'weather'" in error
    TextVAE(tiny.model(), tiny.tokenizer()).save_pretrained(tmp_path / "other")
    assert "expected a model with classes" in textvae("classify", tmp_path / "other", trained[1])[2]
