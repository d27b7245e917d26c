"""The training speed of a model of given sizes, in tokens per second: measured, or estimated by a formula."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

from textvae.support.precision import bf16_is_fast

OF_PEAK = 0.9
"""Speed of a model's matrix products divided by that of square products."""

OF_STATE, OF_LOGIT = 22_000, 550
"""Cost of a token beside matrix products, in fp32 operations: for each unit (steps of the LSTM and convolutions) and
for each logit (its exponential). Measured on one AVX-512 core, 128 to 512 units, 400 to 8,000 tokens."""

OF_PARAMETER = 500
"""The same for each parameter and step: its gradient is summed and clipped, and AdamW updates it."""

OF_STEP = 0.005
"""Fixed cost of a step in seconds."""


NOMINAL_RATE = 1e11
"""Operations per second of a typical CPU core in matrix products."""


@dataclass(frozen=True)
class Sizes:
    """The sizes that decide the training speed.

    Attributes:
        vocabulary_size: V.
        embedding_size: E.
        hidden_size: D.
        latent_size: Z.
        batch_size: texts in a step.
        length: mean number of tokens in a text, including EOS.
    """

    vocabulary_size: int
    embedding_size: int
    hidden_size: int
    latent_size: int
    batch_size: int
    length: float

    @property
    def tokens(self) -> float:
        """Number of tokens in a step."""
        return self.batch_size * self.length

    @property
    def parameters(self) -> int:
        """Parameters of a model with a convolutional encoder, LSTM decoder, tied word vectors and a bag of words."""
        vectors = 2 * self.vocabulary_size * self.embedding_size
        bag = self.hidden_size * (self.vocabulary_size + self.latent_size)
        return vectors + bag + self._of_sequence

    @property
    def operations(self) -> float:
        """Operations in matrix products for each token: two forward and four backward for each parameter."""
        bag = self.hidden_size * (self.vocabulary_size + self.latent_size) / self.length
        return 6 * (self.vocabulary_size * self.embedding_size + self._of_sequence + bag)

    @property
    def _of_sequence(self) -> int:
        """Parameters that are used for each token: the encoder's convolution, the decoder's LSTM and its projection."""
        e, d, z = self.embedding_size, self.hidden_size, self.latent_size
        return e * d + 3 * d * d + 4 * d * (e + z + d) + d * e


Speed = Callable[[Sizes], float]
"""Returns the training speed of a model of these sizes, in tokens per second."""


def measured_speed(
    sizes: Sizes, make_step: Callable[[Sizes], Callable[[], object]], seconds: float = 1.0
) -> float:
    """Time training steps of a model of these sizes, after an untimed first step; return tokens per second.

    Args:
        sizes: sizes of the model.
        make_step: takes the sizes and returns a function that trains on one batch of ``batch_size`` texts of
            ``length`` tokens each.
        seconds: time to spend; at least one step is timed.

    Example:
        >>> sizes = Sizes(1000, 64, 128, 16, batch_size=4, length=25)
        >>> speed = measured_speed(sizes, lambda sizes: lambda: time.sleep(0.01), seconds=0.05)
        >>> 1_000 < speed < 10_000
        True
    """
    step = make_step(sizes)
    step()
    steps, passed, start = 0, 0.0, time.perf_counter()
    while passed < seconds:
        step()
        steps += 1
        passed = time.perf_counter() - start
    return steps * sizes.tokens / passed


def estimated_speed(sizes: Sizes) -> float:
    """Estimate tokens per second from the operations of a step and this machine's measured matrix rate.

    It is accurate within a factor of two on CPUs, and less accurate on GPUs, where steps of small products wait.

    Args:
        sizes: sizes of the model.
    """
    lower = torch.bfloat16 if bf16_is_fast() else torch.float32
    return _speed(sizes, matrix_rate(lower), matrix_rate(torch.float32))


def nominal_speed(sizes: Sizes) -> float:
    """Estimate tokens per second on a CPU core of `NOMINAL_RATE`, so that plans are the same on all machines.

    Args:
        sizes: sizes of the model.
    """
    return _speed(sizes, NOMINAL_RATE, NOMINAL_RATE)


def _speed(sizes: Sizes, lower: float, full: float) -> float:
    """Estimate tokens per second from two matrix rates.

    Args:
        sizes: sizes of the model.
        lower: operations per second of matrix products in the precision of training.
        full: the same in fp32.
    """
    products = sizes.operations / (OF_PEAK * lower)
    of_step = OF_PARAMETER * sizes.parameters / sizes.tokens
    beside = OF_STATE * sizes.hidden_size + OF_LOGIT * sizes.vocabulary_size + of_step
    return 1 / (products + beside / full + OF_STEP / sizes.tokens)


@cache
def matrix_rate(dtype: torch.dtype, size: int = 512, seconds: float = 0.1) -> float:
    """Operations per second in products of two square matrices, measured once in each process.

    Args:
        dtype: dtype of the matrices.
        size: number of rows and columns.
        seconds: time to spend.
    """
    device = (
        torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    )
    one = torch.ones(size, size, dtype=dtype, device=device)
    products = Sizes(0, 0, 0, 0, batch_size=2 * size, length=size * size)
    return measured_speed(products, lambda _: lambda: torch.mm(one, one)[0, 0].item(), seconds)
