"""Latent variables of translation models: one z for each pair of source and target, or one for each target step.

Each kind is a module with the same methods:

    forward: the posterior, the prior, and a function from z to decoder states;
    start: the z with which generation begins;
    step: the states after one more token, in generation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal
from torch.distributions.constraints import Constraint

from textvae.modules.attention import Source
from textvae.modules.attentive_decoder import AttentiveDecoder
from textvae.modules.decoders import Cache
from textvae.modules.distributions import along, diagonal_gaussian, noise, sample
from textvae.modules.encoders import mean_of_real
from textvae.modules.posteriors import GaussianPosterior
from textvae.support.options import Count, Size, validated

Choice = Callable[[Distribution], Tensor]
"""Chooses z from its distribution in generation, such as its mean or a draw."""

Found = tuple[Distribution, Distribution, Callable[[Tensor], Tensor]]
"""The posterior and prior, batch shape (B,), and a function from K samples of z to decoder states (K, B, T, D)."""


@validated
class RecurrentStep(nn.Module):
    """The Gaussian N(m, diag(s²)) of z_t, given z_(t-1) and the features of step t, with one hidden layer.

    Args:
        input_size: size of the features.
        hidden_size: size of the hidden layer.
        latent_size: Z.
    """

    def __init__(self, input_size: Size, hidden_size: Size, latent_size: Size) -> None:
        super().__init__()
        self.of_known = nn.Linear(input_size, hidden_size)
        self.of_previous = nn.Linear(latent_size, hidden_size, bias=False)
        self.gaussian = GaussianPosterior(hidden_size, latent_size)

    def forward(self, known: Tensor, previous: Tensor) -> Independent:
        """The Gaussian of z_t, event shape (Z,).

        Args:
            known: output of `of_known` for the features of step t, (..., hidden_size).
            previous: z_(t-1), (..., Z).
        """
        return self.gaussian(torch.tanh(known + self.of_previous(previous.to(known.dtype))))


class RecurrentGaussian(Distribution):
    """prod_t N(z_t; m_t, diag(s_t²)), where m_t and s_t depend on z_(t-1), with event shape (T, Z).

    Args:
        step: the Gaussian of one step.
        features: features of each step, (B, T, input_size).
        start: z_0, (B, Z); None: 0.
        mask: True on real steps, (B, T); None: all steps are real.
        elsewhere: the distribution at the steps that are pads.
    """

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012

    def __init__(
        self,
        step: RecurrentStep,
        features: Tensor,
        start: Tensor | None = None,
        mask: Tensor | None = None,
        elsewhere: Distribution | None = None,
    ) -> None:
        self.step, self.known = step, step.of_known(features)
        size = step.gaussian.mean.out_features
        # z has at least single precision, even if autocast gives the features less.
        precise = torch.promote_types(self.known.dtype, torch.float32)
        zeros = self.known.new_zeros(len(features), size, dtype=precise)
        self.start = zeros if start is None else start
        self.mask, self.elsewhere = mask, elsewhere
        super().__init__(features.shape[:1], torch.Size([features.shape[1], size]), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The chain in which each z_t is its mean given z_(t-1), (B, T, Z)."""
        return self.path(self.start.new_zeros(self.batch_shape + self.event_shape))

    def path(self, e: Tensor) -> Tensor:
        """The chain z_t = m_t + s_t e_t, (..., B, T, Z), given noise e of this shape."""
        z = [self.start.expand_as(e[..., 0, :])]
        for known, e_t in zip(self.known.unbind(1), e.unbind(-2), strict=True):
            gaussian = self.step(known, z[-1]).base_dist
            z.append(gaussian.loc + gaussian.scale * e_t)
        return torch.stack(z[1:], -2)

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Draws of z, (*sample_shape, B, T, Z)."""
        shape = torch.Size(sample_shape) + self.batch_shape + self.event_shape
        return self.path(torch.randn(shape, dtype=self.start.dtype, device=self.start.device))

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density (K, B) of values (K, B, T, Z)."""
        return self.at(value).log_prob(value)

    def at(self, z: Tensor) -> Independent:
        """The Gaussians of all steps, batch shape (..., B), each given the step before in z (..., B, T, Z)."""
        start = self.start.expand_as(z[..., 0, :])
        previous = torch.cat([start[..., None, :], z[..., :-1, :]], -2)
        gaussian = _of_steps(self.step(self.known, previous))
        if self.mask is None or self.elsewhere is None:
            return gaussian
        return _joined(self.mask, gaussian, along(self.elsewhere, z))


@along.register
def _along_recurrent(distribution: RecurrentGaussian, z: Tensor) -> Independent:
    return distribution.at(z)


@sample.register
def _sample_recurrent(
    distribution: RecurrentGaussian, samples: int, generator: torch.Generator | None = None
) -> Tensor:
    shape = (samples, *distribution.batch_shape, *distribution.event_shape)
    return distribution.path(noise(shape, distribution.start, generator))


def _of_steps(gaussian: Independent) -> Independent:
    """Joins the Gaussians of T steps, batch shape (..., B, T), to one distribution of batch shape (..., B)."""
    return Independent(gaussian.base_dist, 2, validate_args=False)


def _joined(mask: Tensor, real: Independent, pads: Independent) -> Independent:
    """``real`` where the mask (B, T) is True, and ``pads`` elsewhere, so that their KL divergence is 0 there."""
    one, other = real.base_dist, pads.base_dist
    mean = torch.where(mask[..., None], one.loc, other.loc)
    scale = torch.where(mask[..., None], one.scale, other.scale)
    return Independent(Normal(mean, scale, validate_args=False), 2, validate_args=False)


def _network(input_size: int, hidden_size: int, latent_size: int) -> nn.Sequential:
    """A network with one hidden layer that returns a Gaussian."""
    return nn.Sequential(
        nn.Linear(input_size, hidden_size), nn.Tanh(), GaussianPosterior(hidden_size, latent_size)
    )


def _standard(*shape: int, like: Tensor) -> Independent:
    """N(0, I) of this shape (..., Z), in single precision or better."""
    mean = like.new_zeros(shape, dtype=torch.promote_types(like.dtype, torch.float32))
    return diagonal_gaussian(mean, torch.ones_like(mean))


@validated
class SentenceLatent(nn.Module):
    """One z for each pair, which the decoder reads beside every word (VNMT, Zhang et al. 2016).

        p(z | x) = N(m(s), diag(exp(v(s)))),    q(z | x, y) = N(m'([s; t]), diag(exp(v'([s; t]))))

    s and t are the mean states of source and target. One network with one hidden layer computes m and v, another m' and
    v'.

    Args:
        size: D, size of the states.
        latent_size: Z; 0: z is empty.
        source_prior: whether the prior depends on the source as above; False: it is N(0, I).

    References:
        Variational Neural Machine Translation (Zhang et al. 2016), https://arxiv.org/abs/1605.07869
    """

    def __init__(self, size: Size, latent_size: Count, source_prior: bool = True) -> None:
        super().__init__()
        self.latent_size = latent_size
        self.prior = _network(size, size, latent_size) if latent_size and source_prior else None
        self.posterior = _network(2 * size, size, latent_size) if latent_size else None
        self.reads_target = latent_size > 0
        self.beside_words, self.beside_states = latent_size, (size,)

    def forward(
        self, decoder: AttentiveDecoder, inputs: Tensor, mask: Tensor, source: Source, target: Tensor | None
    ) -> Found:
        """The posterior and prior, event shape (Z,), and a function from z (K, B, Z) to decoder states.

        Args:
            decoder: the decoder.
            inputs: ids that the decoder reads, (B, T).
            mask: True on real tokens, (B, T).
            source: B source sentences.
            target: states of the targets, (B, T, D); None if this latent does not read them.
        """
        prior = self.prior_of(source)
        posterior = prior
        if self.posterior is not None and target is not None:
            posterior = self.posterior(torch.cat([source.summary, mean_of_real(target, mask)], -1))
        return posterior, prior, lambda z: decoder(inputs, z, source)[0]

    def prior_of(self, source: Source) -> Independent:
        """The prior p(z | x), batch shape (B,)."""
        if self.prior is None:
            return _standard(len(source.mask), self.latent_size, like=source.states)
        return self.prior(source.summary)

    def start(self, source: Source, choose: Choice) -> Tensor:
        """The z of each source, (B, Z), chosen from the prior."""
        return choose(self.prior_of(source))

    def step(
        self,
        decoder: AttentiveDecoder,
        inputs: Tensor,
        z: Tensor,
        source: Source,
        cache: Cache | None = None,
        *,
        choose: Choice,
    ) -> tuple[Tensor, Cache]:
        """The states (1, N, 1, D) after one more token, and the cache.

        Args:
            decoder: the decoder.
            inputs: ids of the tokens, (N, 1).
            z: (1, N, Z).
            source: N source sentences.
            cache: the cache of the tokens before; None at the start.
            choose: unused, because z was chosen at the start.
        """
        return decoder(inputs, z, source, cache)


class _LatentOfEachStep(nn.Module, ABC):
    """The base class of latents with a z_t at each step. The LSTM does not read z, so it runs once for all samples."""

    beside_words = 0

    @abstractmethod
    def distributions(
        self, hidden: Tensor, contexts: Tensor, mask: Tensor, source: Source, target: Tensor | None
    ) -> tuple[Distribution, Distribution]:
        """The posterior and prior, event shape (T, Z), which are equal at pads.

        Args:
            hidden: hidden states h of the decoder, (B, T, D).
            contexts: contexts c that its attention returned, (B, T, D).
            mask: True on real tokens, (B, T).
            source: B source sentences.
            target: states of the targets, (B, T, D); None if this latent does not read them.
        """

    @abstractmethod
    def generative(self, hidden: Tensor, contexts: Tensor, previous: Tensor | None) -> Distribution:
        """The distribution from which generation chooses z_t, event shape (T, Z).

        Args:
            hidden: hidden states h of the decoder, (N, T, D).
            contexts: contexts, (N, T, D).
            previous: z of the step before the first of these, (N, Z); None at the start.
        """

    @abstractmethod
    def beside(self, contexts: Tensor, z: Tensor) -> tuple[Tensor, ...]:
        """The inputs of `AttentiveDecoder.write` other than h."""

    def forward(
        self, decoder: AttentiveDecoder, inputs: Tensor, mask: Tensor, source: Source, target: Tensor | None
    ) -> Found:
        """The posterior and prior, event shape (T, Z), and a function from z (K, B, T, Z) to states.

        The arguments are those of `SentenceLatent.forward`.
        """
        hidden, contexts, _ = decoder.read(inputs, _empty(source), source)
        posterior, prior = self.distributions(hidden[0], contexts[0], mask, source, target)
        return posterior, prior, lambda z: decoder.write(hidden, *self.beside(contexts, z))

    def start(self, source: Source, choose: Choice) -> Tensor:
        """An empty z, (B, 0): each step chooses its own."""
        return _empty(source)[0]

    def step(
        self,
        decoder: AttentiveDecoder,
        inputs: Tensor,
        z: Tensor,
        source: Source,
        cache: Cache | None = None,
        *,
        choose: Choice,
    ) -> tuple[Tensor, Cache]:
        """The states (1, N, 1, D) after one more token, and the cache.

        Args:
            decoder: the decoder.
            inputs: ids of the tokens, (N, 1).
            z: the value of z_t at every step, (1, N, Z); empty, (1, N, 0): each step chooses its own.
            source: N source sentences.
            cache: the cache of the tokens before; None at the start.
            choose: function that chooses z_t from its distribution.
        """
        past, previous = (None, None) if cache is None else (cache[:-1], cache[-1])
        hidden, contexts, past = decoder.read(inputs, _empty(source), source, past)
        own = z[0, :, None] if z.shape[-1] else choose(self.generative(hidden[0], contexts[0], previous))
        return decoder.write(hidden, *self.beside(contexts, own[None])), (*past, own[:, -1])


def _empty(source: Source) -> Tensor:
    """An empty z, (1, B, 0)."""
    return source.states.new_zeros(1, len(source.states), 0)


@validated
class AttentionLatent(_LatentOfEachStep):
    """The context of each step is a latent variable (variational attention, Bahuleyan et al. 2018).

        p(z_t | x) = N(W s, I) or N(0, I),    q(z_t | x, y_<t) = N(W c_t, diag(exp(V c_t)))

    c_t is the context that attention returns, and s the mean of the source's states. The decoder reads z_t instead of
    c_t. The posterior does not depend on y_t or later words, so generation chooses z_t from the posterior. The prior is
    the same at every step; it only keeps the posterior from becoming narrow.

    Differences from the paper: the LSTM does not read z_t (see `AttentiveDecoder`), the mean is multiplied by W, so
    that z can have any size, and the log-variance is linear in c_t.

    Args:
        size: D, size of the states.
        latent_size: Z.
        source_prior: whether the mean of the prior is W s; False: it is 0.

    References:
        Variational Attention for Sequence-to-Sequence Models (Bahuleyan et al. 2018), https://arxiv.org/abs/1712.08207
    """

    reads_target = False

    def __init__(self, size: Size, latent_size: Count, source_prior: bool = True) -> None:
        super().__init__()
        self.posterior = GaussianPosterior(size, latent_size)
        self.source_prior = source_prior
        self.beside_states = (latent_size,)

    def start_as_context(self) -> None:
        """Set W to the identity, so that the mean of z_t is c_t. Z must be D."""
        nn.init.eye_(self.posterior.mean.weight)

    def distributions(
        self, hidden: Tensor, contexts: Tensor, mask: Tensor, source: Source, target: Tensor | None
    ) -> tuple[Distribution, Distribution]:
        """The posterior and the prior; see the class."""
        posterior = self.generative(hidden, contexts, None)
        mean = self.posterior(source.summary).mean[:, None].expand(posterior.mean.shape)
        mean = mean if self.source_prior else torch.zeros_like(mean)
        prior = _of_steps(diagonal_gaussian(mean, torch.ones_like(mean)))
        return _joined(mask, posterior, prior), prior

    def generative(self, hidden: Tensor, contexts: Tensor, previous: Tensor | None) -> Independent:
        """The posterior q(z_t | x, y_<t) of each step."""
        return _of_steps(self.posterior(contexts))

    def beside(self, contexts: Tensor, z: Tensor) -> tuple[Tensor, ...]:
        """Only z."""
        return (z,)


@validated
class StepLatent(_LatentOfEachStep):
    """A z_t at each step of the target, which depends on z_(t-1) (VRNMT, Su et al. 2018).

        p(z_t | x, y_<t, z_<t) = N(m, diag(exp(v)))      m and v from h_t, c_t and z_(t-1)
        q(z_t | x, y, z_<t) = N(m', diag(exp(v')))       m' and v' from h_t, c_t, z_(t-1) and r_t

    h_t is the decoder's hidden state after y_<t, c_t its context, and r_t the state of the target encoder. One network
    with one hidden layer computes m and v, another m' and v'. The decoder's output states depend on h_t, c_t and z_t.

    Differences from the paper: the decoder's LSTM does not read z_t, which reaches later steps only through z_(t+1), so
    that only the posterior needs a loop. r_t is the state of an encoder that has read all of y; in the paper it is the
    word vector of y_t.

    Args:
        size: D, size of the states.
        latent_size: Z.
        source_prior: whether the prior depends on the source as above; False: it is N(0, I).

    References:
        Variational Recurrent Neural Machine Translation (Su et al. 2018), https://arxiv.org/abs/1801.05119
    """

    reads_target = True

    def __init__(self, size: Size, latent_size: Count, source_prior: bool = True) -> None:
        super().__init__()
        self.latent_size = latent_size
        self.prior = RecurrentStep(2 * size, size, latent_size) if source_prior else None
        self.posterior = RecurrentStep(3 * size, size, latent_size)
        self.beside_states = (size, latent_size)

    def distributions(
        self, hidden: Tensor, contexts: Tensor, mask: Tensor, source: Source, target: Tensor | None
    ) -> tuple[Distribution, Distribution]:
        """The posterior and the prior; see the class."""
        assert target is not None
        prior = self.generative(hidden, contexts, None)
        features = torch.cat([hidden, contexts, target], -1)
        return RecurrentGaussian(self.posterior, features, mask=mask, elsewhere=prior), prior

    def generative(self, hidden: Tensor, contexts: Tensor, previous: Tensor | None) -> Distribution:
        """The prior p(z_t | x, y_<t, z_<t) of each step."""
        if self.prior is None:
            return _of_steps(_standard(*hidden.shape[:2], self.latent_size, like=hidden))
        return RecurrentGaussian(self.prior, torch.cat([hidden, contexts], -1), previous)

    def beside(self, contexts: Tensor, z: Tensor) -> tuple[Tensor, ...]:
        """The contexts and z."""
        return contexts, z


LATENTS: dict[str, type[nn.Module]] = {
    "sentence": SentenceLatent,
    "attention": AttentionLatent,
    "step": StepLatent,
}
"""The latent variables of translation models, by the kind that a configuration names."""
