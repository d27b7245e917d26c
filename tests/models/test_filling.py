"""Missing words against the sum over all fillings and the integral over z."""

import math
from itertools import product

import pytest
import tiny
import torch

from textvae.models import filling
from textvae.models.filling import fill
from textvae.support.errors import UserError
from textvae.text.blanks import Blank

WORD = Blank(b" ", b"")
WORDS = [b""] * 4 + [b" " + bytes([97 + number]) for number in range(6)]
PIECES = [b""] * 4 + [b" a", b" ", b" (a", b"b", b"(", b").", b".", b"\xc3", b"\xa9"]


def widen(model):
    """Posteriors that are no narrower than the true ones, as those of an untrained model may be."""
    with torch.no_grad():
        model.posterior.mean.weight *= 0.2
        model.posterior.log_variance.weight *= 0.2


def exact(model, pattern, spellings, longest):
    """log p(x) of all sentences that fit a pattern, by their fillings: all token sequences, z on a fine grid."""
    found = {}
    z = torch.linspace(-6, 6, 241, dtype=torch.float64)[:, None, None]
    log_prior = torch.distributions.Normal(0.0, 1.0).log_prob(z[:, :, 0]) + math.log(12 / 240)
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
    """All token sequences that write one word with what stands beside it."""
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
    monkeypatch.setattr(filling, "PIECES", longest)
    torch.manual_seed(2)
    model = tiny.model(vocab_size=len(spellings), latent_size=1, **tiny.DECODERS[decoder])
    widen(model)
    expected = exact(model, pattern, spellings, longest)
    count = 5_000
    words, log_weights = fill(model, pattern, spellings, count)
    assert float(log_weights.logsumexp(0).exp()) / count == pytest.approx(sum(expected.values()), rel=0.15)
    shares = dict.fromkeys(expected, 0.0)
    for found, weight in zip(words, log_weights.softmax(0).tolist(), strict=True):
        shares[found] += weight
    total = sum(expected.values())
    assert max(shares.values()) < 0.95, "or any draws would do"
    for found, share in shares.items():
        assert share == pytest.approx(expected[found] / total, abs=0.035)


def test_known_words_have_their_own_probability():
    model = tiny.model(vocab_size=10, latent_size=1)
    expected = exact(model, [5, 6, 7], WORDS, 3)
    words, log_weights = fill(model, [5, 6, 7], WORDS, 4_000)
    assert set(words) == {()}
    assert float(log_weights.logsumexp(0).exp()) / 4_000 == pytest.approx(expected[()], rel=0.05)


def test_a_language_model_fills_too():
    model = tiny.model(vocab_size=10, latent_size=0, initial_range=1.0)
    scores = []
    for word in range(4, 10):
        batch = tiny.collate([{"ids": [5, word, 7]}])
        empty = torch.zeros(1, 1, 0, dtype=torch.float64)
        scores.append(model.score(empty, batch.inputs, batch.targets, batch.mask))
    words, log_weights = fill(model, [5, WORD, 7], WORDS, 8_000)
    weights = log_weights.softmax(0)
    for letter, share in zip("abcdef", torch.cat(scores).flatten().softmax(0).tolist(), strict=True):
        drawn = torch.tensor([found == (letter,) for found in words])
        assert float(weights[drawn].sum()) == pytest.approx(share, abs=0.02)


def test_resampling_keeps_the_mean_of_the_weights_and_drops_what_is_impossible():
    model = tiny.model(vocab_size=10, latent_size=1)
    particles = filling._Particles(model, filling._posterior(model, [[5, 6]]), 1_000)
    particles.log_weights = torch.randn(1_000, dtype=torch.float64)
    particles.log_weights[::2] = -math.inf
    particles.z[:, 0] = torch.arange(1_000)
    weights, before = particles.log_weights.softmax(0), particles.log_weights.logsumexp(0)
    particles.resample()
    copies = torch.bincount(particles.z[:, 0].long(), minlength=1_000)
    assert particles.log_weights.logsumexp(0) == pytest.approx(float(before))
    assert ((copies - 1_000 * weights).abs() < 1).all(), (
        "systematic: each as often as its weight says, or one more"
    )
    assert particles.effective() == pytest.approx(1_000)


def test_draws_follow_their_probabilities_and_are_never_impossible():
    options = torch.tensor([[0.1, 0.0, 0.3, 0.2, 0.0]], dtype=torch.float64).log().repeat(20_000, 1)
    options[-1] = -math.inf
    drawn = filling._drawn(options)
    assert drawn[-1] == 4, "the end, where there is no choice"
    shares = torch.bincount(drawn[:-1], minlength=5) / 20_000
    assert shares.tolist() == pytest.approx([1 / 6, 0, 1 / 2, 1 / 3, 0], abs=0.015)
    assert set(drawn[:-1].tolist()) == {0, 2, 3}


def test_words_that_cannot_be_found_are_named():
    model = tiny.model(vocab_size=len(PIECES))
    with pytest.raises(UserError, match="found no word that fits with 20 particles"):
        fill(model, [4, Blank(b" ", b"%"), 4], PIECES, 20)
