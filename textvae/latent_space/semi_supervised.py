"""A semi-supervised classifier of vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.distributions import Independent

from textvae.models.outputs import VAEOutput
from textvae.modules.classes import UNLABELLED
from textvae.modules.distributions import diagonal_gaussian
from textvae.modules.posteriors import ClassPosterior
from textvae.modules.priors import ClassPrior
from textvae.objectives.elbo import ELBO
from textvae.support.errors import UserError
from textvae.support.options import Dropout, Positive, Size, Weight, check_arguments, validated
from textvae.support.seeds import check_seed


@validated
class VectorM2(nn.Module):
    """M2 for vectors v instead of sentences (Kingma et al. 2014).

        y ~ 1 / C,   z ~ N(0, I),   v ~ N(mean(z, y), diag(variance(z, y)))

    Args:
        input_size: V, size of the vectors.
        latent_size: Z.
        classes: C.
        hidden_size: size of the hidden layer of encoder and decoder.
        dropout: dropout on the input of the classifier.
    """

    def __init__(
        self, input_size: Size, latent_size: Size, classes: Size, hidden_size: Size, dropout: Dropout
    ) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(input_size, hidden_size), nn.Softplus())
        self.posterior = ClassPosterior(hidden_size, latent_size, classes, dropout)
        self.prior = ClassPrior(latent_size, classes)
        self.decoder = nn.Sequential(
            nn.Linear(latent_size + classes, hidden_size),
            nn.Softplus(),
            nn.Linear(hidden_size, 2 * input_size),
        )

    def forward(self, vectors: Tensor, labels: Tensor) -> VAEOutput:
        """The output that `ELBO` reads, for vectors (B, V) and labels (B,); unknown labels are `UNLABELLED`."""
        posterior = self.posterior(self.encoder(vectors), labels)
        z, weights = posterior.enumerated()
        return VAEOutput(
            posterior=posterior,
            prior=self.prior(len(vectors), vectors),
            z=z,
            score=self._likelihood(z).log_prob(vectors),
            weights=weights,
        )

    def _likelihood(self, z: Tensor) -> Independent:
        mean, log_variance = self.decoder(z).chunk(2, -1)
        return diagonal_gaussian(mean, (0.5 * log_variance.clamp(-8, 8)).exp())


class M2Classifier(ClassifierMixin, BaseEstimator):
    """A classifier that learns from labelled and unlabelled vectors; on the vectors of a VAE it is M1 + M2.

    M1 is the VAE that made the vectors. M2 is a second VAE on top, whose latent includes the class (Kingma et al. 2014,
    section 4.1). The vectors are standardised first.

    Parameters:
        latent_size: Z of the second VAE.
        hidden_size: size of the hidden layers.
        classification: weight of the classifier's own loss.
        dropout: dropout on the input of the classifier.
        epochs: passes over the unlabelled vectors, or over the labelled ones if all are labelled.
        batch_size: the most labelled vectors in a batch, and the most unlabelled ones.
        learning_rate: learning rate of Adam.
        random_state: seeds the weights, the batches and the draws.

    Attributes:
        classes_: the labels, (C,).
        model_: the trained `VectorM2`.

    References:
        Semi-supervised Learning with Deep Generative Models (Kingma et al. 2014), https://arxiv.org/abs/1406.5298

    Example:
        >>> vectors, labels = [[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.1]], ["a", -1, "b", -1]
        >>> M2Classifier(epochs=100, random_state=0).fit(vectors, labels).predict([[0.0, 0.8], [0.8, 0.0]])
        array(['a', 'b'], dtype='<U1')
    """

    def __init__(
        self,
        latent_size: Size = 16,
        hidden_size: Size = 128,
        classification: Weight = 10.0,
        dropout: Dropout = 0.2,
        epochs: Size = 20,
        batch_size: Size = 100,
        learning_rate: Positive = 1e-3,
        random_state: int | None = None,
    ) -> None:
        self.latent_size = latent_size
        self.hidden_size = hidden_size
        self.classification = classification
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any) -> M2Classifier:
        """Learn from vectors (n, V) and their labels (n,); as in scikit-learn, -1 means unlabelled.

        Raises:
            UserError: if no label is known, or an option is out of range.
        """
        check_arguments(M2Classifier, **self.get_params())
        check_seed(self.random_state, "random_state")
        vectors = torch.as_tensor(np.asarray(X, dtype=np.float32))
        given = list(y)
        known = [label for label in given if not _is_unknown(label)]
        if not known:
            raise UserError("expected some labels, got only -1: give some that are known")
        self.classes_, numbers = np.unique(known, return_inverse=True)
        labels = torch.full((len(vectors),), UNLABELLED)
        labels[[place for place, label in enumerate(given) if not _is_unknown(label)]] = torch.as_tensor(
            numbers
        )
        self.n_features_in_ = vectors.shape[1]
        self.mean_, self.scale_ = vectors.mean(0), vectors.std(0, correction=0).clamp_min(1e-6)
        with torch.random.fork_rng():
            if self.random_state is not None:
                torch.manual_seed(self.random_state)
            self.model_ = self._train((vectors - self.mean_) / self.scale_, labels)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """q(y | x), (n, C), for vectors (n, V)."""
        check_is_fitted(self)
        vectors = (torch.as_tensor(np.asarray(X, dtype=np.float32)) - self.mean_) / self.scale_
        with torch.no_grad():
            posterior = self.model_.posterior(self.model_.encoder(vectors))
        return posterior.probabilities.numpy()

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The likeliest labels, (n,), of vectors (n, V)."""
        return self.classes_[self.predict_proba(X).argmax(1)]

    def _train(self, vectors: Tensor, labels: Tensor) -> VectorM2:
        """Train M2. Each batch holds labelled vectors, drawn with replacement, and the next unlabelled ones."""
        model = VectorM2(
            vectors.shape[1], self.latent_size, len(self.classes_), self.hidden_size, self.dropout
        )
        objective = ELBO(classification=self.classification)
        optimizer = torch.optim.Adam(model.parameters(), self.learning_rate)
        labelled = (labels >= 0).nonzero()[:, 0]
        unlabelled = (labels < 0).nonzero()[:, 0]
        passed = unlabelled if len(unlabelled) else labelled
        for _ in range(self.epochs):
            for part in passed[torch.randperm(len(passed))].split(self.batch_size):
                chosen = labelled[torch.randint(len(labelled), (min(self.batch_size, len(labelled)),))]
                rows = torch.cat([chosen, part]) if len(unlabelled) else part
                optimizer.zero_grad()
                objective(model(vectors[rows], labels[rows]), 1.0).loss.backward()
                optimizer.step()
        return model.eval()


def _is_unknown(label: Any) -> bool:
    return not isinstance(label, str) and label == UNLABELLED
