"""Initialise a mixture prior from clusters of the posteriors that the first stage has learnt."""

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

MOST_POSTERIORS = 50_000
"""Maximum number of posteriors to cluster: a random sample of a larger corpus, or the first sentences of a stream."""

RESTARTS = 10
"""Number of fits, of which the best is kept: a single fit often merges two clusters."""


def start_prior(
    model: TextVAEModel, rows: Dataset | IterableDataset, fields: Fields, *, batch_size: int, seed: int
) -> None:
    """Initialise the model's mixture prior with clusters that a tied Gaussian mixture finds in the posterior means.

    The variance of a component is the variance of the posterior means in its cluster plus the mean posterior variance.
    The mixture thus matches the samples of z that the decoder is trained on. Jiang et al. 2017 fit a mixture with
    diagonal covariances, which takes any structure in a single dimension for a cluster. With one covariance shared by
    all components, the clusters are closer to topics (recipes/RESULTS.md).

    Args:
        model: a model with a `MixturePrior`.
        rows: a tokenised corpus.
        fields: the fields that collate its batches.
        batch_size: sentences at once.
        seed: seed of the fit.

    Raises:
        UserError: if there are fewer different posteriors than components.
    """
    prior = model.prior
    assert isinstance(prior, MixturePrior)
    kept = rows.take(MOST_POSTERIORS)
    if isinstance(rows, Dataset) and len(rows) > MOST_POSTERIORS:
        # A random sample, because a corpus may be sorted by class.
        chosen = np.random.default_rng(seed).choice(len(rows), MOST_POSTERIORS, replace=False)
        kept = rows.select(np.sort(chosen))
    means, variances = [], []
    with evaluating(model):
        for batch in evaluation_loader(kept, fields, batch_size):
            here = batch.to(model.device)
            posterior = model.encode(here.targets, here.mask)
            means.append(posterior.mean.cpu().double())
            variances.append(posterior.variance.cpu().double())
    mean, variance = torch.cat(means).numpy(), torch.cat(variances).numpy()
    found = fit_clusters(mean, len(prior.logits), "tied-mixture", random_state=seed, restarts=RESTARTS)
    members = found.probabilities(mean)
    # Add a pseudo-sentence of variance 1 to each component, so that no component is empty or has variance 0.
    counts = members.sum(0) + 1
    around = np.stack(
        [share @ (mean - centre) ** 2 for share, centre in zip(members.T, found.centres, strict=True)]
    )
    prior.start_from(
        torch.from_numpy(counts / counts.sum()),
        torch.from_numpy(found.centres),
        torch.from_numpy((around + members.T @ variance + 1) / counts[:, None]),
    )
