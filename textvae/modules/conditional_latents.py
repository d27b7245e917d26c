"""Latent variables of a pair of a source and a target: one for the pair, or one for each step of the target.

Each is a module with the same methods, which a model need not tell apart:

    forward: the posterior and the prior of the targets of a batch, and what makes decoder states of z;
    start: the z that generation begins with;
    step: states behind one more token, in generation.
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
from textvae.support.options import Count

Choice = Callable[[Distribution], Tensor]
"""Makes z of its distribution in generation: its mean, a draw, ..."""

Found = tuple[Distribution, Distribution, Callable[[Tensor], Tensor]]
"""Posterior and prior of batch shape (B,), and the decoder states (K, B, T, D) for z of K samples."""


class RecurrentStep(nn.Module):
    """N(m, diag(s²)) of z_t given what is known at t and z_(t-1), through one hidden layer.

    Args:
        input_size: size of what is known.
        hidden_size: of the hidden layer.
        latent_size: Z.
    """

    def __init__(self, input_size: int, hidden_size: int, latent_size: int) -> None:
        super().__init__()
        self.of_known = nn.Linear(input_size, hidden_size)
        self.of_previous = nn.Linear(latent_size, hidden_size, bias=False)
        self.gaussian = GaussianPosterior(hidden_size, latent_size)

    def forward(self, known: Tensor, previous: Tensor) -> Independent:
        """The Gaussian of z_t, event shape (Z,).

        Args:
            known: what `of_known` has made of what is known at t, (..., hidden_size).
            previous: z_(t-1), (..., Z).
        """
        return self.gaussian(torch.tanh(known + self.of_previous(previous.to(known.dtype))))


class RecurrentGaussian(Distribution):
    """prod_t N(z_t; m_t, diag(s_t²)), where m_t and s_t depend on z_(t-1), with event shape (T, Z).

    Args:
        step: the Gaussian of a step.
        features: what is known at each step, (B, T, input_size).
        start: z_0, (B, Z); None: 0.
        mask: True where a step is real, (B, T); None: everywhere.
        elsewhere: the distribution of the steps that are not.
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
        # z is never less precise than single, though what is known may be, under autocast.
        precise = torch.promote_types(self.known.dtype, torch.float32)
        zeros = self.known.new_zeros(len(features), size, dtype=precise)
        self.start = zeros if start is None else start
        self.mask, self.elsewhere = mask, elsewhere
        super().__init__(features.shape[:1], torch.Size([features.shape[1], size]), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The way on which each z_t is the mean given the one before, (B, T, Z)."""
        return self.path(self.start.new_zeros(self.batch_shape + self.event_shape))

    def path(self, e: Tensor) -> Tensor:
        """z_t = m_t + s_t e_t, one after the other, for noise e (..., B, T, Z)."""
        z = [self.start.expand_as(e[..., 0, :])]
        for known, e_t in zip(self.known.unbind(1), e.unbind(-2), strict=True):
            gaussian = self.step(known, z[-1]).base_dist
            z.append(gaussian.loc + gaussian.scale * e_t)
        return torch.stack(z[1:], -2)

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Draws (*sample_shape, B, T, Z)."""
        shape = torch.Size(sample_shape) + self.batch_shape + self.event_shape
        return self.path(torch.randn(shape, dtype=self.start.dtype, device=self.start.device))

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density of values (K, B, T, Z), (K, B)."""
        return self.at(value).log_prob(value)

    def at(self, z: Tensor) -> Independent:
        """The Gaussians of all steps given the steps before in z (..., B, T, Z), batch shape (..., B)."""
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
    """The Gaussians of T steps, batch shape (..., B, T), as one distribution of batch shape (..., B)."""
    return Independent(gaussian.base_dist, 2, validate_args=False)


def _joined(mask: Tensor, real: Independent, pads: Independent) -> Independent:
    """``real`` where the mask (B, T) is True and ``pads`` elsewhere, so that there its divergence from these is 0."""
    one, other = real.base_dist, pads.base_dist
    mean = torch.where(mask[..., None], one.loc, other.loc)
    scale = torch.where(mask[..., None], one.scale, other.scale)
    return Independent(Normal(mean, scale, validate_args=False), 2, validate_args=False)


def _network(input_size: int, hidden_size: int, latent_size: int) -> nn.Sequential:
    """A Gaussian of what it reads, through one hidden layer."""
    return nn.Sequential(
        nn.Linear(input_size, hidden_size), nn.Tanh(), GaussianPosterior(hidden_size, latent_size)
    )


def _standard(*shape: int, like: Tensor) -> Independent:
    """N(0, I) of a shape (..., Z), at least in single precision."""
    mean = like.new_zeros(shape, dtype=torch.promote_types(like.dtype, torch.float32))
    return diagonal_gaussian(mean, torch.ones_like(mean))


class SentenceLatent(nn.Module):
    """One z for a pair (VNMT, Zhang et al. 2016), which the decoder reads beside every word.

        p(z | x) = N(m(s), diag(exp(v(s)))),    q(z | x, y) = N(m'([s; t]), diag(exp(v'([s; t]))))

    s and t are the means of the states of source and target; each pair of m and v has one hidden layer.

    Args:
        size: D of the states.
        latent_size: Z; 0: z is empty.
        source_prior: whether the prior is as above, or N(0, I).

    References:
        Variational Neural Machine Translation (Zhang et al. 2016), https://arxiv.org/abs/1605.07869
    """

    def __init__(self, size: int, latent_size: Count, source_prior: bool = True) -> None:
        super().__init__()
        self.latent_size = latent_size
        self.prior = _network(size, size, latent_size) if latent_size and source_prior else None
        self.posterior = _network(2 * size, size, latent_size) if latent_size else None
        self.reads_target = latent_size > 0
        self.beside_words, self.beside_states = latent_size, (size,)

    def forward(
        self, decoder: AttentiveDecoder, inputs: Tensor, mask: Tensor, source: Source, target: Tensor | None
    ) -> Found:
        """Posterior and prior of event shape (Z,), and the states of a z (K, B, Z).

        Args:
            decoder: makes the states.
            inputs: its inputs, (B, T).
            mask: True on real tokens, (B, T).
            source: of B sentences.
            target: states of the targets, (B, T, D); None where the latent does not read them.
        """
        prior = self.prior_of(source)
        posterior = prior
        if self.posterior is not None and target is not None:
            posterior = self.posterior(torch.cat([source.summary, mean_of_real(target, mask)], -1))
        return posterior, prior, lambda z: decoder(inputs, z, source)[0]

    def prior_of(self, source: Source) -> Independent:
        """p(z | x), batch shape (B,)."""
        if self.prior is None:
            return _standard(len(source.mask), self.latent_size, like=source.states)
        return self.prior(source.summary)

    def start(self, source: Source, choose: Choice) -> Tensor:
        """z of each source, (B, Z)."""
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
        """States (1, N, 1, D) behind one more token, and the cache.

        Args:
            decoder: makes the states.
            inputs: the tokens, (N, 1).
            z: (1, N, Z).
            source: of N sentences.
            cache: of the tokens before.
            choose: unused; z was chosen at the start.
        """
        return decoder(inputs, z, source, cache)


class _LatentOfEachStep(nn.Module, ABC):
    """What the latents with a z_t at each step share: the LSTM does not read z, so it runs once for all samples."""

    beside_words = 0

    @abstractmethod
    def distributions(
        self, hidden: Tensor, contexts: Tensor, mask: Tensor, source: Source, target: Tensor | None
    ) -> tuple[Distribution, Distribution]:
        """Posterior and prior of event shape (T, Z), equal at pads.

        Args:
            hidden: h of the decoder, (B, T, D).
            contexts: what its attention found, (B, T, D).
            mask: True on real tokens, (B, T).
            source: of B sentences.
            target: states of the targets, (B, T, D); None where the latent does not read them.
        """

    @abstractmethod
    def generative(self, hidden: Tensor, contexts: Tensor, previous: Tensor | None) -> Distribution:
        """What generation takes z_t from, event shape (T, Z), for h, contexts (N, T, D) and z before them, (N, Z)."""

    @abstractmethod
    def beside(self, contexts: Tensor, z: Tensor) -> tuple[Tensor, ...]:
        """What stands beside h when states are written."""

    def forward(
        self, decoder: AttentiveDecoder, inputs: Tensor, mask: Tensor, source: Source, target: Tensor | None
    ) -> Found:
        """Posterior and prior of event shape (T, Z), and the states of a z (K, B, T, Z); see `SentenceLatent`."""
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
        """States (1, N, 1, D) behind one more token, and the cache.

        Args:
            decoder: makes the states.
            inputs: the tokens, (N, 1).
            z: what each step has for z_t, (1, N, Z); empty: it chooses.
            source: of N sentences.
            cache: of the tokens before.
            choose: z_t of its distribution.
        """
        past, previous = (None, None) if cache is None else (cache[:-1], cache[-1])
        hidden, contexts, past = decoder.read(inputs, _empty(source), source, past)
        own = z[0, :, None] if z.shape[-1] else choose(self.generative(hidden[0], contexts[0], previous))
        return decoder.write(hidden, *self.beside(contexts, own[None])), (*past, own[:, -1])


def _empty(source: Source) -> Tensor:
    """A z without dimensions, (1, B, 0)."""
    return source.states.new_zeros(1, len(source.states), 0)


class AttentionLatent(_LatentOfEachStep):
    """The context of each step is latent (variational attention, Bahuleyan et al. 2018).

        p(z_t | x) = N(W s, I) or N(0, I),    q(z_t | x, y_<t) = N(W c_t, diag(exp(V c_t)))

    c_t is what attention finds, s the mean of the source's states. The decoder has z_t in place of c_t. As the
    posterior does not look at y_t or beyond, generation takes z_t from it: the prior, which has no place in the
    source, is there to keep the posterior wide.

    Unlike the paper's decoder, the LSTM does not read z_t (see `AttentiveDecoder`), the mean passes through W, which
    makes z any size, and the log-variance is linear in c_t.

    Args:
        size: D of the states.
        latent_size: Z.
        source_prior: whether the prior has the mean W s, or 0.

    References:
        Variational Attention for Sequence-to-Sequence Models (Bahuleyan et al. 2018), https://arxiv.org/abs/1712.08207
    """

    reads_target = False

    def __init__(self, size: int, latent_size: Count, source_prior: bool = True) -> None:
        super().__init__()
        self.posterior = GaussianPosterior(size, latent_size)
        self.source_prior = source_prior
        self.beside_states = (latent_size,)

    def start_as_context(self) -> None:
        """Make c_t the mean of z_t, for which z must be of its size."""
        nn.init.eye_(self.posterior.mean.weight)

    def distributions(
        self, hidden: Tensor, contexts: Tensor, mask: Tensor, source: Source, target: Tensor | None
    ) -> tuple[Distribution, Distribution]:
        """Posterior and prior; see the class."""
        posterior = self.generative(hidden, contexts, None)
        mean = self.posterior(source.summary).mean[:, None].expand(posterior.mean.shape)
        mean = mean if self.source_prior else torch.zeros_like(mean)
        prior = _of_steps(diagonal_gaussian(mean, torch.ones_like(mean)))
        return _joined(mask, posterior, prior), prior

    def generative(self, hidden: Tensor, contexts: Tensor, previous: Tensor | None) -> Independent:
        """q(z_t | x, y_<t) of each step."""
        return _of_steps(self.posterior(contexts))

    def beside(self, contexts: Tensor, z: Tensor) -> tuple[Tensor, ...]:
        """z alone."""
        return (z,)


class StepLatent(_LatentOfEachStep):
    """A latent at each step of the target, in a chain (VRNMT, Su et al. 2018).

        p(z_t | x, y_<t, z_<t) = N(m, diag(exp(v)))      of h_t, c_t and z_(t-1)
        q(z_t | x, y, z_<t) = N(m', diag(exp(v')))       of h_t, c_t, z_(t-1) and the target's state r_t

    h_t and c_t are the decoder's state of y_<t and its context; each pair of m and v has one hidden layer. The
    states of the decoder are written from h_t, c_t and z_t.

    Unlike the paper's, the decoder's recurrence does not read z_t, which goes on to later steps through the chain
    alone: so only the chain of the posterior is a loop. And r_t is the state of an encoder that has read all of y,
    where the paper has the word vector of y_t.

    Args:
        size: D of the states.
        latent_size: Z.
        source_prior: whether the prior is as above, or N(0, I).

    References:
        Variational Recurrent Neural Machine Translation (Su et al. 2018), https://arxiv.org/abs/1801.05119
    """

    reads_target = True

    def __init__(self, size: int, latent_size: Count, source_prior: bool = True) -> None:
        super().__init__()
        self.latent_size = latent_size
        self.prior = RecurrentStep(2 * size, size, latent_size) if source_prior else None
        self.posterior = RecurrentStep(3 * size, size, latent_size)
        self.beside_states = (size, latent_size)

    def distributions(
        self, hidden: Tensor, contexts: Tensor, mask: Tensor, source: Source, target: Tensor | None
    ) -> tuple[Distribution, Distribution]:
        """Posterior and prior; see the class."""
        assert target is not None
        prior = self.generative(hidden, contexts, None)
        features = torch.cat([hidden, contexts, target], -1)
        return RecurrentGaussian(self.posterior, features, mask=mask, elsewhere=prior), prior

    def generative(self, hidden: Tensor, contexts: Tensor, previous: Tensor | None) -> Distribution:
        """p(z_t | x, y_<t, z_<t) of each step."""
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
"""Where z stands in a model of pairs, by the kind that a configuration names."""
