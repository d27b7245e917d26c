"""Measure this machine's speed with a few training steps on random tokens, before anything is chosen."""

from __future__ import annotations

from collections.abc import Callable

import torch

from textvae.models.language import TextVAEConfig, TextVAEModel
from textvae.objectives.elbo import ELBO
from textvae.support.precision import bf16_is_fast
from textvae.text.batches import Batch
from textvae.training.speed import Sizes, Speed, estimated_speed, measured_speed

GRADIENT = 5.0
"""The norm to which gradients are clipped."""


def calibrated_speed(sizes: Sizes, seconds: float = 1.0) -> Speed:
    """Scale `estimated_speed` so that it agrees with the measured speed of one model.

    Args:
        sizes: sizes of the measured model; the result is most accurate for similar sizes.
        seconds: time to spend on steps.
    """
    factor = measured_speed(sizes, training_step, seconds) / estimated_speed(sizes)
    return lambda wanted: factor * estimated_speed(wanted)


def training_step(sizes: Sizes) -> Callable[[], object]:
    """Return a function that trains a model, with the parts that the planner chooses, on one random batch.

    The global random state is restored afterwards.

    Args:
        sizes: sizes of the model and the batch.
    """
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    with torch.random.fork_rng():
        model: torch.nn.Module = TextVAEModel(_config(sizes)).train()
    model.to(device)
    batch = _batch(sizes).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    objective = ELBO()
    bf16 = bf16_is_fast()

    def step() -> float:
        with torch.random.fork_rng(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = objective(model(**batch, samples=1, draw=objective.draw), 1.0).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def _config(sizes: Sizes) -> TextVAEConfig:
    """The configuration that `rules.parts` and `rules.bag_of_words` describe."""
    return TextVAEConfig(
        vocab_size=sizes.vocabulary_size,
        latent_size=sizes.latent_size,
        embedding_size=sizes.embedding_size,
        hidden_size=sizes.hidden_size,
        encoder={"kind": "convolution"},
        decoder={"kind": "lstm"},
        bag_of_words={"kind": "softmax"},
        tie_word_embeddings=True,
        initial_range=None,
    )


def _batch(sizes: Sizes) -> Batch:
    """A batch of random tokens, in which each text has the mean length."""
    length = max(1, round(sizes.length))
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(4, sizes.vocabulary_size, (sizes.batch_size, length), generator=generator)
    return Batch(
        {
            "inputs": ids,
            "targets": ids,
            "mask": torch.ones_like(ids, dtype=torch.bool),
            "lengths": torch.full((sizes.batch_size,), length),
        }
    )
