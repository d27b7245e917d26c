"""The recipe runs on a tiny model and a few sentences, and continues if it is repeated."""

import json

import pytest

SCRIPT = "language_model/sample_quality.py"


@pytest.mark.slow
def test_samples_are_measured(script, run_folder):
    run = run_folder(f"a {x} c {y}" for x in "defgh" for y in "uvwxyz")
    options = (run, "--samples", 30, "--epochs", 2)
    first = script(SCRIPT, *options)
    assert first.code == 0, first.err
    written = run / "sample_quality" / "30-0" / "quality.json"
    quality = json.loads(written.read_text())
    assert list(quality) == ["data", "prior", "mixture"]
    assert quality["data"]["reverse_ppl"] < quality["prior"]["reverse_ppl"], "noise teaches less than data"
    assert quality["data"]["distinct_2"] < quality["prior"]["distinct_2"]
    assert (run / "priors" / "mixture.safetensors").exists()
    assert str(written) in first.out
    second = script(SCRIPT, *options)
    assert second.code == 0, second.err
    assert json.loads(written.read_text()) == quality


def test_a_run_without_a_recipe_is_named(script, tmp_path):
    result = script(SCRIPT, tmp_path)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert f"expected a recipe in {tmp_path}/recipe.yaml" in result.err
