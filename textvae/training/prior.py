"""A mixture prior's start: the clusters of the posteriors that a first stage has learnt."""

from __future__ import annotations

import numpy as np
import torch
from datasets import Dataset, IterableDataset

from textvae.inference.mode import evaluating
from textvae.latent_space.clusters import fit_clusters
from textvae.models.language import TextVAEModel
from textvae.modules.priors import MixturePrior
from textvae.text.fields import Fields
from textvae.text.samplers import evaluation_loader

POSTERIORS = 50_000
"""Of how many the clusters are found at most; of a larger corpus, a random sample, and of a stream the first."""

RESTARTS = 10
"""Of the search for clusters, which is often caught with two in one; the best is kept."""


def start_prior(
    model: TextVAEModel, rows: Dataset | IterableDataset, fields: Fields, *, batch_size: int, seed: int
) -> None:
    """Start the model's mixture prior from the clusters that a tied mixture finds among its posterior means.

    Each component gets the variance of its cluster's means and, on top, that of the posteriors around them, so that
    the mixture is one of the draws that the decoder sees. Jiang et al. 2017 start from a mixture with diagonal
    covariances, as the prior has, which takes any structure in one dimension for a cluster; those of one that all
    clusters share are nearer to topics (recipes/RESULTS.md).

    Args:
        model: with a `MixturePrior`.
        rows: a tokenised corpus.
        fields: make its batches.
        batch_size: sentences at once.
        seed: of the fit.

    Raises:
        UserError: if there are fewer different posteriors than components.
    """
    prior = model.prior
    assert isinstance(prior, MixturePrior)
    kept = rows.take(POSTERIORS)
    if isinstance(rows, Dataset) and len(rows) > POSTERIORS:
        # At random, as a corpus may be sorted by its classes.
        chosen = np.random.default_rng(seed).choice(len(rows), POSTERIORS, replace=False)
        kept = rows.select(np.sort(chosen))
    means, variances = [], []
    with evaluating(model):
        for batch in evaluation_loader(kept, fields, batch_size):
            here = batch.to(model.device)
            posterior = model.encode(here.targets, here.mask)
            means.append(posterior.mean.double().cpu())
            variances.append(posterior.variance.double().cpu())
    mean, variance = torch.cat(means).numpy(), torch.cat(variances).numpy()
    found = fit_clusters(mean, len(prior.logits), "tied-mixture", random_state=seed, restarts=RESTARTS)
    members = found.probabilities(mean)
    # One sentence more for each, of variance 1: no component is empty or a point.
    counts = members.sum(0) + 1
    around = np.stack(
        [share @ (mean - centre) ** 2 for share, centre in zip(members.T, found.centres, strict=True)]
    )
    prior.start_from(
        torch.from_numpy(counts / counts.sum()),
        torch.from_numpy(found.centres),
        torch.from_numpy((around + members.T @ variance + 1) / counts[:, None]),
    )
