"""The diagnosis: each way in which a latent can be useless has its own state."""

import pytest
import tiny
from quantities import evaluation

from textvae.evaluation.diagnosis import described, diagnose
from textvae.evaluation.evaluate import evaluate
from textvae.evaluation.quantities import Training
from textvae.models.language import TextVAEConfig, TextVAEModel

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
        ({"kl": 6.5, "mutual_information": 0.49}, "collapsed"),
        ({"kl": 6.5, "mutual_information": 0.51}, "weak"),
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


def test_few_sentences_are_not_taken_for_little_information():
    """Five sentences, all told apart, show log 5 nats."""
    found = {"sentences": 5, "mutual_information": 1.6, "mutual_information_sentences": 5}
    assert diagnose(evaluation(HEALTHY, **found)).state == "healthy"


def test_five_sentences_are_no_ground_for_advice():
    """The advice is to give more texts, whatever the five show."""
    for found in ({}, {"kl": 0.1}):
        assert diagnose(evaluation(HEALTHY, sentences=5, **found)).advice == (
            "This was measured on 5 sentences, which show little: give more texts, or hold more of them out."
        )


WEAK = {"reconstruction_shuffled_z": 97.0}
COLLAPSED = {"kl": 0.1, "mutual_information": 0.1, "reconstruction_shuffled_z": 96.1}


@pytest.mark.parametrize(
    ("training", "found", "advice"),
    [
        (Training(2_000, 100, target_rate=6.5), {}, ""),
        (Training(2_000, 100, target_rate=6.0), {}, ""),
        (Training(2_000, 100), {}, ""),
        (
            Training(2_000, 100, target_rate=16),
            {"kl": 26.0},
            "The KL is 26.0 where 16 was asked for: the rate is held on training sentences, and takes some thousand "
            "steps to be met.",
        ),
        (
            Training(132, 100, gained=0.1),
            {},
            "132 steps, of these 100 of warm-up, are few: train longer.",
        ),
        (Training(600, few_steps=600), {}, ""),
        (Training(599, few_steps=600), {}, "599 steps are few: train longer."),
        (
            Training(3_000, 2_000),
            {},
            "3,000 steps, of these 2,000 of warm-up, are few: train longer.",
        ),
        (Training(3_000, gained=0.005), {}, ""),
        (
            Training(3_000, gained=0.02),
            {},
            "The last evaluation was 2.0 % better than the one before: train longer.",
        ),
        (Training(3_000, gained=-0.005), {}, ""),
        (
            Training(3_000, gained=-0.04),
            {},
            "The last evaluation was 4.0 % worse than the one before: the model learns its sentences by heart; give "
            "more of them, or train less.",
        ),
        (
            None,
            {"unknown_tokens": 0.54},
            "54 % of the tokens are <unk>, which hides what the sentences say: give a larger "
            "tokenizer.vocabulary_size, or tokenizer.kind: sentencepiece.",
        ),
        (
            Training(2_000),
            WEAK,
            "Try objective.target_rate in place of kl_weight, model.word_dropout: 0.3, or a section pretraining.",
        ),
        (
            Training(2_000, target_rate=6.5, pretraining=True),
            WEAK,
            "Try an objective.target_rate above 6.5, or model.word_dropout: 0.3.",
        ),
        (
            None,
            COLLAPSED,
            "Try objective.target_rate in place of kl_weight, or a higher one, or model.word_dropout: 0.3.",
        ),
    ],
)
def test_advice_knows_the_run(training, found, advice):
    result = evaluation(HEALTHY, **found)
    result.training = training
    assert diagnose(result).advice == advice


@pytest.mark.parametrize(
    ("options", "cures"),
    [
        ({"encoder": {"kind": "lstm"}}, {"encoder", "bag_of_words", "word_dropout", "decoder"}),
        ({"encoder": {"kind": "convolution"}}, {"bag_of_words", "word_dropout", "decoder"}),
        ({"encoder": {"kind": "bag_of_words"}, "word_dropout": 0.3}, {"bag_of_words", "decoder"}),
        (
            {
                "encoder": {"kind": "convolution"},
                "bag_of_words": {"kind": "softmax"},
                "word_dropout": 0.5,
                "decoder": {"kind": "dilated_convolution"},
            },
            set(),
        ),
    ],
)
def test_what_a_model_has_is_not_proposed(options, cures):
    found = TextVAEModel(TextVAEConfig(vocab_size=10, hidden_size=8, embedding_size=8, **options)).cures()
    assert {cure.split(".")[1].split(":")[0] for cure in found} == cures


def test_unknown_tokens_are_counted():
    batch = tiny.batch()
    batch["targets"][batch["targets"] == int(batch["targets"][0, 0])] = 3
    share = float((batch["targets"] == 3).sum()) / batch.tokens
    assert evaluate(tiny.model(), [batch]).unknown_tokens == share > 0


def test_without_a_latent_there_is_nothing_to_say():
    model = tiny.model(latent_size=0)
    result = evaluate(model, [tiny.batch()])
    assert diagnose(result) is None
    assert "verdict" not in described(result)


def test_what_is_stored_holds_the_verdict():
    found = described(HEALTHY)
    assert found["verdict"].startswith("healthy: ")
    assert found.items() >= HEALTHY.to_dict().items()
