"""Ways between test sentences are printed, whole and from end to end."""

import pytest
import tiny

from textvae.text_vae import TextVAE

SCRIPT = "language_model/interpolations.py"


@pytest.fixture
def run(tmp_path):
    """A run folder of a tiny model, whose test sentences are in a file."""
    TextVAE(tiny.model(), tiny.tokenizer()).save_pretrained(tmp_path)
    file = tmp_path / "corpus.txt"
    file.write_text("\n".join(f"a {x} c {y}" for x in "def" for y in "uvw"))
    corpus = f"{{train: {file}, validation: {file}, test: {file}}}"
    recipe = f"corpus: {corpus}\ntokenizer: {{kind: words}}\ntraining: {{output_dir: {tmp_path}}}\n"
    (tmp_path / "recipe.yaml").write_text(recipe)
    return tmp_path


def test_ways_lead_from_one_test_sentence_to_another(script, run):
    result = script(SCRIPT, run, "--pairs", 2, "--steps", 3)
    assert result.code == 0, result.err
    lines = [line for line in result.out.splitlines() if line]
    ends = [line.strip("*") for line in lines if line.startswith("*")]
    assert len(set(ends)) == 4
    assert set(ends) <= set((run / "corpus.txt").read_text().splitlines())
    steps = [line.split(maxsplit=1) for line in lines if line.startswith("    ")]
    assert len(steps) == 2 * 3
    vae = TextVAE.from_pretrained(run)
    decoded = [sentence for _, *(sentence,) in steps]
    assert decoded[::3] + decoded[2::3] == vae.reconstruct([*ends[::2], *ends[1::2]])
    assert lines[-1].startswith("-log p(x | z) in nats before each step. BLEU of the 4 ends: ")


def test_too_few_test_sentences_are_named(script, run):
    result = script(SCRIPT, run, "--pairs", 5)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "expected 10 test sentences for 5 pairs, got 9" in result.err
