"""Batch-normalised means: their batches are random samples, so that evaluation has the statistics of training."""

import pytest
import tiny
import torch

from textvae.modules.posteriors import NormalizedMeans
from textvae.support.errors import UserError
from textvae.text.samplers import LengthGroupedSampler
from textvae.training.aggressive import random_batches

NORMALISED = {"normalize_means": 0.6}
LENGTHS = torch.arange(512) % 8 + 1


def batches(trainer):
    """The lengths of the sentences in each training batch of an epoch."""
    return [batch["lengths"].tolist() for batch in trainer.get_train_dataloader()]


@pytest.mark.parametrize(("options", "mixed"), [({}, False), (NORMALISED, True)], ids=["plain", "normalised"])
def test_only_models_that_normalise_batches_have_mixed_ones(options, mixed, tmp_path):
    trainer = tiny.trainer(tmp_path, lengths=LENGTHS.tolist(), model_options=options)
    assert trainer.vae.normalizes_batches == mixed
    found = batches(trainer)
    assert sorted(length for batch in found for length in batch) == sorted((LENGTHS + 1).tolist())
    assert all((max(batch) - min(batch) > 4) == mixed for batch in found)
    aggressive = next(random_batches(trainer.train_dataset, trainer.fields, 32, 0, mixed))
    assert (int(aggressive.lengths.max() - aggressive.lengths.min()) > 4) == mixed
    assert batches(tiny.trainer(tmp_path, lengths=LENGTHS.tolist(), model_options=options)) == found


def second_moment(keys):
    """The second moment of the means in evaluation, after training on means that tell the length of a sentence.

    In training it is gamma², 0.36.
    """
    torch.manual_seed(0)
    module = NormalizedMeans(2, 0.6).double()
    means = (LENGTHS[:, None] - 4.5) * torch.tensor([1.5, -1.0]) + torch.randn(len(LENGTHS), 2)
    for epoch in range(20):
        order = torch.tensor(list(LengthGroupedSampler(keys, 32, epoch=lambda epoch=epoch: epoch)))
        for batch in order.split(32):
            inside = module(means[batch].double())
            torch.testing.assert_close(inside.square().mean(), torch.tensor(0.36).double())
    return float(module.eval()(means.double()).square().mean().detach())


def test_evaluation_has_the_second_moment_of_training_if_batches_are_mixed():
    assert second_moment(torch.zeros_like(LENGTHS)) == pytest.approx(0.36, rel=0.1)
    assert second_moment(LENGTHS) > 2.0


def test_batches_of_so_many_tokens_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"^expected no tokens_per_batch for a model that normalises batches"):
        tiny.trainer(tmp_path, model_options=NORMALISED, tokens_per_batch=64)
    assert tiny.trainer(tmp_path, tokens_per_batch=64).arguments.tokens_per_batch == 64
