"""A mixture prior's start: the mixture that fits the posteriors that a first stage has learnt."""

from __future__ import annotations

import torch
from datasets import Dataset, IterableDataset
from sklearn.mixture import GaussianMixture

from textvae.evaluation.evaluate import evaluating
from textvae.models.language import TextVAEModel
from textvae.modules.latents import MixturePrior
from textvae.text.batches import Collator, evaluation_loader

POSTERIORS = 50_000
"""How many the mixture is fitted to, the first of the corpus."""


def start_prior(
    model: TextVAEModel, rows: Dataset | IterableDataset, collator: Collator, *, batch_size: int, seed: int
) -> None:
    """Fit the model's mixture prior to its posteriors (Jiang et al. 2017, who fit it to an auto-encoder's means).

    The components are those of the posterior means; each gets the variance of its means and, on top, that of its
    posteriors around them, so that the mixture is one of the draws that the decoder sees.

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
    mean = torch.cat(means).numpy()
    mixture = GaussianMixture(len(prior.logits), covariance_type="diag", n_init=5, random_state=seed)
    shares = torch.from_numpy(mixture.fit(mean).predict_proba(mean))
    around = (shares.T @ torch.cat(variances)) / shares.sum(0)[:, None]
    prior.start_from(
        torch.from_numpy(mixture.weights_),
        torch.from_numpy(mixture.means_),
        torch.from_numpy(mixture.covariances_) + around,
    )
