"""The probabilities of missing words, compared with the sum over all fillings and the integral over z."""

import math
from itertools import pairwise, product

import pytest
import tiny
import torch

from textvae.inference import particles, proposals
from textvae.inference.filling import Fillings, fill, proposal_for
from textvae.modules.distributions import diagonal_gaussian
from textvae.support.errors import UserError
from textvae.text.blanks import Blank

WORD = Blank(b" ", b"")
WORDS = [b""] * 4 + [b" " + bytes([97 + number]) for number in range(6)]
PATTERN = [5, WORD, 7, 4]
PIECES = [b""] * 4 + [b" a", b" ", b" (a", b"b", b"(", b").", b".", b"\xc3", b"\xa9"]


def exact(model, pattern, spellings, longest):
    """p(x) of all sentences that fit a pattern, by filling: summed over all token sequences and a fine grid of z."""
    found = {}
    z = torch.linspace(-6, 6, 241, dtype=torch.float64)[:, None, None]
    log_prior = model.prior(1, z).log_prob(z).detach() + math.log(12 / 240)
    sentences = {}
    for parts in product(
        *([(term,)] if isinstance(term, int) else sequences(term, spellings, longest) for term in pattern)
    ):
        words = tuple(
            b"".join(spellings[token] for token in part)
            .decode()[len(term.before) :]
            .removesuffix(term.behind.decode())
            for part, term in zip(parts, pattern, strict=True)
            if isinstance(term, Blank)
        )
        sentences.setdefault(words, []).append([token for part in parts for token in part])
    for words, ids in sentences.items():
        batch = tiny.collate([{"ids": sentence} for sentence in ids])
        with torch.no_grad():
            scores = model.score(z.expand(-1, len(ids), -1), batch.inputs, batch.targets, batch.mask)
        found[words] = float((scores + log_prior).flatten().logsumexp(0).exp())
    return found


def sequences(blank, spellings, longest):
    """All token sequences that spell one word together with the known edges of the blank."""
    tokens = [number for number, spelt in enumerate(spellings) if spelt]
    for length in range(1, longest + 1):
        for found in product(tokens, repeat=length):
            written = b"".join(spellings[token] for token in found)
            known = len(blank.before) + len(blank.behind)
            if (
                written.startswith(blank.before)
                and written.endswith(blank.behind)
                and len(written) > known
                and b" " not in written[1:]
                and written.decode(errors="replace").isascii() | ("é" in written.decode(errors="replace"))
                and "\ufffd" not in written[len(blank.before) :].decode(errors="replace")
            ):
                yield found


@pytest.mark.parametrize("decoder", ["lstm", "dilated"])
@pytest.mark.parametrize(
    ("spellings", "pattern", "longest"),
    [
        (WORDS, [5, WORD, 7, 4], 1),
        (WORDS, [WORD, 8, WORD], 1),
        (WORDS, [4, WORD, WORD, 9], 1),
        (PIECES, [4, WORD], 3),
        (PIECES, [WORD, 4, 7], 3),
        (PIECES, [4, Blank(b" (", b")."), 6], 4),
        (PIECES, [WORD, Blank(b" ", b".")], 2),
    ],
    ids=["one", "two", "side by side", "pieces", "known behind", "edges", "word and edge"],
)
def test_fillings_have_their_exact_probabilities(decoder, spellings, pattern, longest, monkeypatch):
    monkeypatch.setattr(particles, "PIECES", longest)
    torch.manual_seed(2)
    model = tiny.model(vocab_size=len(spellings), latent_size=1, **tiny.DECODERS[decoder])
    expected = exact(model, pattern, spellings, longest)
    total = sum(expected.values())
    expected = {words: probability / total for words, probability in expected.items()}
    assert max(expected.values()) < 0.95, "or any draws would do"
    found = fill(model, pattern, spellings, 2_000)
    size = found.effective_sample_size()
    assert size > 30
    assert evidence(found) == pytest.approx(total, rel=5 / math.sqrt(size))
    shares = found.shares()
    assert shares.keys() <= expected.keys()
    for words, probability in expected.items():
        deviation = math.sqrt(probability * (1 - probability) / size)
        assert shares[words] == pytest.approx(probability, abs=0.005 + 4 * deviation), (words, size)


def evidence(found):
    """The estimate of p(known words)."""
    return float(found.log_weights.logsumexp(0).exp()) / len(found.words)


def distance(one, other):
    """The total variation distance between two distributions over fillings."""
    return sum(abs(one.get(words, 0) - other.get(words, 0)) for words in one | other) / 2


@pytest.mark.slow
@pytest.mark.parametrize("deviation", [1.0, 0.2, 0.02], ids=["as it is", "narrow", "nearly a point"])
def test_fillings_come_nearer_to_the_truth_with_more_particles(deviation):
    """The encoder's posteriors may be much narrower than the true ones and have other means."""
    torch.manual_seed(2)
    model = tiny.model(vocab_size=10, latent_size=1, initial_range=1.0)
    with torch.no_grad():
        narrow = model.posterior.forward
        model.posterior.forward = lambda summary: diagonal_gaussian(
            narrow(summary).mean, deviation * narrow(summary).stddev
        )
    expected = exact(model, PATTERN, WORDS, 1)
    expected = {words: probability / sum(expected.values()) for words, probability in expected.items()}
    wrong, unlike = {}, {}
    for count in (200, 5_000):
        found = [fill(model, PATTERN, WORDS, count).shares() for _ in range(6)]
        wrong[count] = sum(distance(shares, expected) for shares in found) / 6
        unlike[count] = sum(distance(*pair) for pair in pairwise(found)) / 5
    assert wrong[200] < 0.13
    assert unlike[200] < 0.18
    assert wrong[5_000] < wrong[200] / 2, "the error falls to 1 / sqrt(25), except for chance"
    assert unlike[5_000] < unlike[200] / 2


def test_the_effective_sample_size_tells_how_far_probabilities_are_off():
    """The mean squared error of a probability p is about p (1 - p) / ESS: within a factor of 3, over 60 runs."""
    torch.manual_seed(2)
    model = tiny.model(vocab_size=10, latent_size=1, initial_range=1.0)
    expected = exact(model, PATTERN, WORDS, 1)
    word, probability = max(expected.items(), key=lambda item: item[1])
    probability /= sum(expected.values())
    runs = [fill(model, PATTERN, WORDS, 200) for _ in range(60)]
    squared = sum((run.shares()[word] - probability) ** 2 for run in runs) / 60
    predicted = sum(probability * (1 - probability) / run.effective_sample_size() for run in runs) / 60
    assert predicted / 3 < squared < 3 * predicted


def test_known_words_have_their_own_probability():
    model = tiny.model(vocab_size=10, latent_size=1)
    expected = exact(model, [5, 6, 7], WORDS, 3)
    found = fill(model, [5, 6, 7], WORDS, 4_000)
    assert found.shares() == {(): pytest.approx(1)}
    assert evidence(found) == pytest.approx(expected[()], rel=0.05)


def test_the_weight_of_known_words_is_their_probability_times_the_whole_ratio(monkeypatch):
    monkeypatch.setattr(particles.Particles, "resample", lambda self: None)
    model = tiny.model(vocab_size=10, initial_range=1.0)
    found = fill(model, [5, 6, 7], WORDS, 50)
    batch = tiny.collate([{"ids": [5, 6, 7]}])
    with torch.no_grad():
        scores = model.score(found.z[:, None], batch.inputs, batch.targets, batch.mask)[:, 0]
        proposal = proposal_for(model, [5, 6, 7])
        ratio = proposal.log_prior(found.z) - proposal.log_prob(found.z)
    assert float(ratio.std()) > 0.01
    torch.testing.assert_close(found.log_weights, scores + ratio)


@pytest.mark.parametrize(("size", "off"), [(25.0, "0.10"), (99.9, "0.05"), (100.0, None), (101.0, None)])
def test_few_draws_are_warned_of_with_the_deviation_that_they_allow(size, off):
    warning = Fillings(["a"], [1.0], size, 500).warning
    if off is None:
        assert warning == ""
    else:
        assert f"got {size:.0f} from 500 particles, so probabilities may be off by {off}: " in warning


def test_a_language_model_fills_too():
    model = tiny.model(vocab_size=10, latent_size=0, initial_range=1.0)
    scores = []
    for word in range(4, 10):
        batch = tiny.collate([{"ids": [5, word, 7]}])
        empty = torch.zeros(1, 1, 0, dtype=torch.float64)
        scores.append(model.score(empty, batch.inputs, batch.targets, batch.mask))
    shares = fill(model, [5, WORD, 7], WORDS, 8_000).shares()
    expected = torch.cat(scores).flatten().softmax(0).tolist()
    assert [shares[letter,] for letter in "abcdef"] == pytest.approx(expected, abs=0.02)


def test_a_mixture_prior_is_followed():
    torch.manual_seed(3)
    model = tiny.model(vocab_size=10, latent_size=1, prior_components=2, initial_range=1.0)
    with torch.no_grad():
        model.prior.means.copy_(torch.tensor([[-2.0], [2.0]]))
        model.prior.logits.copy_(torch.tensor([0.0, 2.0]))
    expected = exact(model, PATTERN, WORDS, 1)
    found = fill(model, PATTERN, WORDS, 5_000)
    assert evidence(found) == pytest.approx(sum(expected.values()), rel=0.1)
    shares = {words: probability / sum(expected.values()) for words, probability in expected.items()}
    assert dict.fromkeys(shares, 0.0) | found.shares() == pytest.approx(shares, abs=0.035)


def test_resampling_keeps_the_mean_of_the_weights_and_drops_what_is_impossible():
    model = tiny.model(vocab_size=10, latent_size=1)
    found = particles.Particles(model, proposal_for(model, [5, 6]), 1_000)
    found.log_weights = torch.randn(1_000, dtype=torch.float64)
    found.log_weights[::2] = -math.inf
    found.z[:, 0] = found.log_ratio[:] = torch.arange(1_000)
    weights, before = found.log_weights.softmax(0), found.log_weights.logsumexp(0)
    found.resample()
    copies = torch.bincount(found.z[:, 0].long(), minlength=1_000)
    assert found.log_weights.logsumexp(0) == pytest.approx(float(before))
    assert ((copies - 1_000 * weights).abs() < 1).all(), (
        "systematic: the number of copies is the expected one, rounded down or up"
    )
    assert found.weight_evenness() == pytest.approx(1_000)
    assert (found.families == found.z[:, 0]).all()
    assert (found.log_ratio == found.z[:, 0]).all()
    assert found.effective_sample_size() == pytest.approx(1_000_000 / float(copies.square().sum()))
    found.log_weights[:500] = -math.inf
    found.resample()
    assert (found.families == found.z[:, 0]).all(), "the first ancestors, not the last"


def test_importance_weights_are_bounded():
    """This holds for a narrow posterior and for any z."""
    posterior = diagonal_gaussian(torch.tensor([[3.0, -1.0]]), torch.tensor([[0.1, 0.2]]))
    prior = diagonal_gaussian(torch.zeros(1, 2), torch.ones(1, 2))
    proposal = proposals.DefensiveMixture(posterior, prior)
    z = torch.cat([5 * torch.randn(1_000, 2), proposal.sample(1_000)])
    ratio = (proposal.log_prior(z) - proposal.log_prob(z)).exp()
    assert float(ratio.max()) <= 1 / proposals.PRIOR_SHARE + 1e-4
    axes = torch.meshgrid(torch.linspace(-9, 9, 601), torch.linspace(-9, 9, 301), indexing="ij")
    density = proposal.log_prob(torch.stack(axes, -1).flatten(0, 1)).exp()
    assert float(density.sum()) * (18 / 600) * (18 / 300) == pytest.approx(1, abs=1e-3)
    drawn = proposal.sample(20_000)
    means = [proposals.tempered(posterior, prior, power).mean[0] for power in proposals.POWERS]
    expected = 0.75 * sum(means) / 3
    assert drawn.mean(0).tolist() == pytest.approx(expected.tolist(), abs=0.05)


@pytest.mark.parametrize("power", [0.0, 0.3, 1.0])
def test_a_tempered_posterior_is_the_power_of_its_ratio_to_the_prior(power):
    posterior = diagonal_gaussian(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.3, 0.8]]))
    prior = diagonal_gaussian(torch.tensor([[0.5, 0.0]]), torch.tensor([[1.0, 2.0]]))
    z = torch.randn(50, 1, 2)
    expected = prior.log_prob(z) + power * (posterior.log_prob(z) - prior.log_prob(z))
    difference = proposals.tempered(posterior, prior, power).log_prob(z) - expected
    assert difference.flatten().tolist() == pytest.approx([float(difference[0, 0])] * 50, abs=1e-3)


def test_draws_follow_their_probabilities_and_are_never_impossible(monkeypatch):
    options = torch.tensor([[0.1, 0.0, 0.3, 0.2, 0.0]], dtype=torch.float64).log().repeat(20_000, 1)
    options[-1] = -math.inf
    drawn = particles.drawn(options)
    assert drawn[-1] == 4, "the last column, because all are impossible"
    shares = torch.bincount(drawn[:-1], minlength=5) / 20_000
    assert shares.tolist() == pytest.approx([1 / 6, 0, 1 / 2, 1 / 3, 0], abs=0.015)
    assert set(drawn[:-1].tolist()) == {0, 2, 3}
    monkeypatch.setattr(torch, "rand_like", torch.ones_like)
    assert set(particles.drawn(options[:-1]).tolist()) == {3}, (
        "the largest random number chooses the last possible column"
    )


def test_words_that_cannot_be_found_are_named():
    model = tiny.model(vocab_size=len(PIECES))
    with pytest.raises(UserError, match="found no word that fits with 20 particles"):
        fill(model, [4, Blank(b" ", b"%"), 4], PIECES, 20)
