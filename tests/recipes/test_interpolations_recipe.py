"""Interpolations between test sentences are printed completely, from one end to the other."""

import pytest

from textvae.interfaces.readable import AS_IT_IS
from textvae.interfaces.text_vae import TextVAE

SCRIPT = "language_model/interpolations.py"


@pytest.fixture
def run(run_folder):
    """A run folder with nine test sentences."""
    return run_folder(f"a {x} c {y}" for x in "def" for y in "uvw")


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
    assert decoded[::3] + decoded[2::3] == vae.reconstruct([*ends[::2], *ends[1::2]], **AS_IT_IS)
    assert lines[-1].startswith("-log p(x | z) in nats before each step. BLEU of the 4 reconstructed ends: ")


@pytest.mark.parametrize(("pairs", "found"), [(-1, 0), (0, 0), (5, 9)])
def test_pairs_that_cannot_be_drawn_are_named(script, run, pairs, found):
    result = script(SCRIPT, run, "--pairs", pairs)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert f"two test sentences for each pair, got {pairs} and {found} sentences" in result.err
