"""The diagnosis: each way in which a latent can be useless has its own state."""

import pytest
import tiny
from quantities import evaluation

from textvae.evaluation.diagnosis import described, diagnose
from textvae.evaluation.evaluate import evaluate

HEALTHY = evaluation(
    neg_elbo=102.5,
    iw_nll=100.0,
    iw_samples=500,
    ppl=95.83,
    tokens=82430,
    sentences=3761,
    latent_size=32,
    kl=6.5,
    mutual_information=5.25,
    mutual_information_sentences=3761,
    active_units=32,
    kl_per_dimension=[0.2] * 32,
    reconstruction=96.0,
    reconstruction_prior_z=108.0,
    reconstruction_shuffled_z=107.0,
)


@pytest.mark.parametrize(
    ("found", "state"),
    [
        ({}, "healthy"),
        ({"kl": 0.01, "mutual_information": 0.0, "reconstruction_shuffled_z": 96.0}, "collapsed"),
        ({"kl": 3.8, "mutual_information": 1.5, "reconstruction_shuffled_z": 96.3}, "collapsed"),
        ({"kl": 6.5, "mutual_information": 0.2}, "collapsed"),
        ({"kl": 1.37, "mutual_information": 1.27}, "weak"),
        ({"reconstruction_shuffled_z": 97.0}, "weak"),
        ({"kl": 30.0, "mutual_information": 3.0}, "weak"),
        ({"kl": 30.0, "mutual_information": 8.0}, "healthy"),
    ],
    ids=str,
)
def test_the_state_of_a_latent(found, state):
    diagnosis = diagnose(evaluation(HEALTHY, **found))
    assert diagnosis.state == state
    assert ("Try" in diagnosis.sentence) is (state != "healthy"), "there is something to try"


@pytest.mark.parametrize(
    ("found", "state"),
    [
        ({}, "healthy"),
        ({"kl": 0.1}, "collapsed"),
        ({"reconstruction_shuffled_z": 96.1}, "collapsed"),
        ({"kl": 1.5}, "weak"),
        ({"reconstruction_shuffled_z": 97.5}, "weak"),
    ],
    ids=str,
)
def test_the_state_of_a_conditional_latent(found, state):
    """The mutual information of a conditional latent is not known."""
    diagnosis = diagnose(
        evaluation(HEALTHY, mutual_information=None, mutual_information_sentences=None, **found)
    )
    assert diagnosis.state == state
    assert ("Try" in diagnosis.sentence) is (state != "healthy")
    assert "information" not in diagnosis.sentence


def test_information_at_its_bound_is_not_taken_for_a_waste():
    """A hundred sentences cannot show more than log 100 nats of information."""
    found = evaluation(HEALTHY, kl=40.0, mutual_information=4.6, mutual_information_sentences=100)
    assert diagnose(found).state == "healthy"


def test_without_a_latent_there_is_nothing_to_say():
    model = tiny.model(latent_size=0)
    result = evaluate(model, [tiny.batch()])
    assert diagnose(result) is None
    assert "verdict" not in described(result)


def test_what_is_stored_holds_the_verdict():
    found = described(HEALTHY)
    assert found["verdict"].startswith("healthy: ")
    assert found.items() >= HEALTHY.to_dict().items()
