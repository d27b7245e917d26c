"""The output layer: from states to log-probabilities of tokens, without storing the logits of a whole batch."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from textvae.support.options import Size, validated

SLAB = 2**21
"""Maximum number of logits in memory at once: 8 MiB in fp32, which fits into the cache of a CPU core.

If this is less than the logits of `ROWS` tokens, those of `ROWS` tokens are in memory at once.
"""

ROWS = {"cpu": 512, "cuda": 4096}
"""Minimum number of tokens in a slab, by device. Measured on a CPU only.

Each slab reads the whole weight and updates its whole gradient; this must not take longer than the matrix products.
"""


def _slab_rows(weight: Tensor) -> int:
    """Number of tokens in a slab, given a weight (V, D)."""
    return max(ROWS.get(weight.device.type, ROWS["cpu"]), SLAB // len(weight))


def _product_dtype(tensor: Tensor) -> torch.dtype:
    """The dtype in which autocast computes matrix products; float64 stays float64."""
    kind = tensor.device.type
    lower = torch.is_autocast_enabled(kind) and tensor.dtype != torch.float64
    return torch.get_autocast_dtype(kind) if lower else tensor.dtype


class _TokenLogLikelihood(torch.autograd.Function):
    """log softmax(h W^T + b)[y] of N tokens, computed slab by slab together with its gradient.

    d log p / d logits = onehot(y) - softmax. Therefore the forward pass computes both matrix products of the backward
    pass while the logits of a slab are in memory, and then frees the logits. The weight's gradient is a sum over
    tokens, so this is valid only if the gradient from above is the same for all tokens. It is if the loss is a mean
    over sentences of sums over tokens. Otherwise the backward pass computes the logits again.

    ``recording`` is False if the caller runs under `torch.no_grad`. This class cannot tell by itself: inside it,
    gradients are always off, and parameters still require theirs.
    """

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, recording: bool
    ) -> Tensor:
        dtype = _product_dtype(states)
        ones = states.new_ones(len(states))
        gradients = recording and any(ctx.needs_input_grad[:3])
        result = _slabs(states.to(dtype), weight.to(dtype), bias, targets, ones if gradients else None)
        ctx.dtype = dtype
        ctx.save_for_backward(states, weight, bias, targets, *(result[1:] if gradients else ()))
        return result[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        states, weight, bias, targets, d_states, d_weight, d_bias = ctx.saved_tensors
        if bool((gradient == gradient[:1]).all()):
            scale = gradient[:1]
            return d_states * scale, d_weight * scale, d_bias * scale, None, None
        dtype = ctx.dtype
        _, *gradients = _slabs(states.to(dtype), weight.to(dtype), bias, targets, gradient)
        return (
            *(grad.to(like.dtype) for grad, like in zip(gradients, (states, weight, bias), strict=True)),
            None,
            None,
        )


def _slabs(
    states: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, gradient: Tensor | None
) -> tuple[Tensor, ...]:
    """The log-likelihoods (N,) and, if their gradient (N,) is given, the gradients of states, weight and bias.

    Args:
        states: (N, D).
        weight: (V, D).
        bias: (V,).
        targets: ids, (N,).
        gradient: gradient of the loss with respect to the log-likelihoods, (N,); None: compute no gradients.
    """
    precise = torch.promote_types(states.dtype, torch.float32)
    result = torch.empty(len(states), dtype=precise, device=states.device)
    if gradient is not None:
        d_states = torch.empty_like(states, dtype=precise)
        d_weight = torch.zeros_like(weight, dtype=precise)
        d_bias = torch.zeros_like(bias, dtype=precise)
    rows = _slab_rows(weight)
    for start in range(0, len(states), rows):
        part = slice(start, start + rows)
        target = targets[part, None]
        logits = torch.mm(states[part], weight.T).to(precise).add_(bias)
        logits -= logits.amax(-1, keepdim=True)
        chosen = logits.gather(-1, target)
        probabilities = logits.exp_()
        total = probabilities.sum(-1, keepdim=True)
        result[part] = (chosen - total.log()).squeeze(-1)
        if gradient is not None:
            scale = gradient[part, None]
            d_logits = probabilities.mul_(-scale / total).scatter_add_(-1, target, scale.to(precise))
            d_bias += d_logits.sum(0)
            d_logits = d_logits.to(states.dtype)
            d_states[part] = torch.mm(d_logits, weight)
            if states.dtype == precise:
                d_weight.addmm_(d_logits.T, states[part])
            else:
                d_weight += torch.mm(d_logits.T, states[part])
    return (result,) if gradient is None else (result, d_states, d_weight, d_bias)


@validated
class OutputLayer(nn.Module):
    """p(x_t | state_t) = softmax(W state_t + b).

    Args:
        input_size: D, size of the states.
        vocabulary_size: V.
        weight_size: number of columns of W; None: D. If it is not D, because W is tied to word vectors of another
            size, the states are projected to this size first.
    """

    def __init__(self, input_size: Size, vocabulary_size: Size, weight_size: Size | None = None) -> None:
        super().__init__()
        size = weight_size or input_size
        self.projection = nn.Linear(input_size, size, bias=False) if size != input_size else nn.Identity()
        self.linear = nn.Linear(size, vocabulary_size)

    def logits(self, states: Tensor) -> Tensor:
        """The logits (..., V) of states (..., D)."""
        return functional.linear(self.projection(states), self.linear.weight, self.linear.bias)

    def log_likelihood(self, states: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """log p(x | …) in nats, summed over the real tokens of each sentence, (K, B).

        Args:
            states: (K, B, T, D).
            targets: ids, (B, T).
            mask: True on real tokens, (B, T); the others are skipped.
        """
        samples, sentences = states.shape[:2]
        real = self.projection(states[:, mask].flatten(0, 1))
        tokens = _TokenLogLikelihood.apply(
            real,
            self.linear.weight,
            self.linear.bias,
            targets[mask].repeat(samples),
            torch.is_grad_enabled(),
        )
        sentence_of = mask.nonzero()[:, 0].expand(samples, -1)
        return tokens.new_zeros(samples, sentences).scatter_add_(1, sentence_of, tokens.view(samples, -1))

    def likeliest(self, states: Tensor) -> Tensor:
        """The id of the most probable token for each of N states (N, D), shape (N,)."""
        rows = _slab_rows(self.linear.weight)
        return torch.cat([self.logits(part).argmax(-1) for part in states.split(rows)])


@validated
class BagOfWords(nn.Module):
    """p_bag(x | z) = prod_t softmax(f(z))[x_t]: predicts the words from z without their order (Zhao et al. 2017).

    It is a second decoder, which depends on z alone and is used only for an additional loss in training. Most tokens
    of a document are function words, which do not depend on its topic; TF-IDF weights reduce their influence.

    Args:
        latent_size: Z.
        vocabulary_size: V.
        hidden_size: size of the hidden layer of f; None: f is linear, so that topics are directions of z (Miao et al.
            2016).
        weights: weights of the tokens. "counts": the weight of each token is 1. "tf_idf": the n tokens of a word have
            the weight (1 + log n) (1 + log((1 + N) / (1 + N_word))) together, where N is the number of sentences in
            training so far (in the first process, if there are several), and N_word of them contain the word; the
            weights of a batch are scaled to a mean of 1.
    """

    documents: Tensor
    frequencies: Tensor

    def __init__(
        self,
        *,
        latent_size: Size,
        vocabulary_size: Size,
        hidden_size: Size | None = None,
        weights: Literal["counts", "tf_idf"] = "counts",
    ) -> None:
        super().__init__()
        self.hidden = None if hidden_size is None else nn.Linear(latent_size, hidden_size)
        self.output = nn.Linear(hidden_size or latent_size, vocabulary_size)
        self.tf_idf = weights == "tf_idf"
        if self.tf_idf:
            self.register_buffer("documents", torch.zeros((), dtype=torch.long))
            self.register_buffer("frequencies", torch.zeros(vocabulary_size, dtype=torch.long))

    def log_likelihood(self, z: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """log p_bag(x | z) in nats, summed over the real tokens, (K, B).

        Args:
            z: (K, B, Z).
            targets: ids, (B, T).
            mask: True on real tokens, (B, T).
        """
        features = z.to(self.output.weight.dtype)
        if self.hidden is not None:
            features = self.hidden(features).tanh()
        logits = self.output(features)
        words = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
        chosen = words.gather(-1, targets.expand(len(z), -1, -1))
        return (chosen * (self._weights(targets, mask) if self.tf_idf else mask)).sum(-1)

    def _weights(self, targets: Tensor, mask: Tensor) -> Tensor:
        """The TF-IDF weight of each token, (B, T), 0 for pads; in training the sentences are counted first."""
        counts = torch.zeros(len(targets), len(self.frequencies), device=targets.device)
        counts.scatter_add_(1, targets, mask.to(counts.dtype))
        if self.training:
            self.documents += len(targets)
            self.frequencies += (counts > 0).sum(0)
        rarity = 1 + torch.log((1 + self.documents) / (1 + self.frequencies))
        repeated = counts.gather(1, targets).clamp(min=1)  # the id of a pad may have count 0
        weights = (1 + repeated.log()) / repeated * rarity[targets] * mask
        return weights * (mask.sum() / weights.sum())


BAGS: dict[str, type[nn.Module]] = {"softmax": BagOfWords}
"""The decoders that ignore word order, by the kind that a configuration names."""
