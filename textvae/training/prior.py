"""A mixture prior's start: the clusters of the posteriors that a first stage has learnt."""

from __future__ import annotations

import numpy as np
import torch
from datasets import Dataset, IterableDataset
from sklearn.cluster import KMeans

from textvae.evaluation.evaluate import evaluating
from textvae.models.language import TextVAEModel
from textvae.modules.latents import MixturePrior
from textvae.text.batches import Collator, evaluation_loader

POSTERIORS = 50_000
"""Of how many the clusters are found, the first of the corpus."""

RESTARTS = 20
"""Of k-means, which is often caught with two clusters in one; the best is kept."""


def start_prior(
    model: TextVAEModel, rows: Dataset | IterableDataset, collator: Collator, *, batch_size: int, seed: int
) -> None:
    """Start the model's mixture prior from the clusters that k-means finds among its posterior means.

    Each component gets the variance of its cluster's means and, on top, that of the posteriors around them, so that
    the mixture is one of the draws that the decoder sees. Jiang et al. 2017 start from a mixture that is fitted to
    the means of an auto-encoder; with diagonal covariances, which the prior has, such a fit takes any structure in
    one dimension for a cluster, and its clusters are less those of the topics (recipes/RESULTS.md).

    Args:
        model: with a `MixturePrior`.
        rows: a tokenised corpus.
        collator: makes its batches.
        batch_size: sentences at once.
        seed: of the fit.
    """
    prior = model.prior
    assert isinstance(prior, MixturePrior)
    kept = rows.take(POSTERIORS)
    means, variances = [], []
    with evaluating(model, seed):
        for batch in evaluation_loader(kept, collator, batch_size):
            here = batch.to(model.device)
            posterior = model.encode(here.targets, here.mask)
            means.append(posterior.mean.double().cpu())
            variances.append(posterior.variance.double().cpu())
    mean, variance = torch.cat(means).numpy(), torch.cat(variances).numpy()
    found = KMeans(len(prior.logits), n_init=RESTARTS, random_state=seed).fit(mean)
    members = np.eye(len(prior.logits))[found.labels_]
    spread = members.T @ ((mean - found.cluster_centers_[found.labels_]) ** 2 + variance)
    # One sentence more for each, of variance 1: no component is empty or a point.
    counts = members.sum(0) + 1
    prior.start_from(
        torch.from_numpy(counts / counts.sum()),
        torch.from_numpy(found.cluster_centers_),
        torch.from_numpy((spread + 1) / counts[:, None]),
    )
