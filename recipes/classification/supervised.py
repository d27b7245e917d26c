"""A supervised LSTM as a baseline; it starts from random weights or from a language model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from textvae.models.language import TextVAEModel
from textvae.text.batches import Batch
from textvae.text.fields import Fields, TextField
from textvae.text.samplers import LengthGroupedSampler, alike

LEAST_STEPS = 300
"""Minimum number of training steps, also with few labels."""
RANGE = 0.1
"""Initial word vectors are within ± this. Words without a labelled sentence keep them, so they must be small."""


class Network(nn.Module):
    """softmax(W s + b), where s concatenates the last, mean and maximum state of an LSTM (Howard & Ruder 2018).

    The last state alone was 13 to 15 points worse on AG News with 2,000 labels.

    Args:
        vocabulary_size: V.
        embedding_size: size of the word vectors.
        hidden_size: size of the states.
        classes: C.
        dropout: dropout rate on word vectors and summaries.
    """

    def __init__(
        self, vocabulary_size: int, embedding_size: int, hidden_size: int, classes: int, dropout: float
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.lstm = nn.LSTM(embedding_size, hidden_size, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(3 * hidden_size, classes)
        nn.init.uniform_(self.embedding.weight, -RANGE, RANGE)

    def start_from(self, language_model: TextVAEModel) -> None:
        """Copy the word vectors and the LSTM of a language model's decoder."""
        given = language_model.decoder.state_dict()
        for part, module in (("embedding", self.embedding), ("lstm", self.lstm)):
            module.load_state_dict({name: given[f"{part}.{name}"] for name in module.state_dict()})

    def forward(self, batch: Batch) -> Tensor:
        """Scores of the classes, (B, C)."""
        states, _ = self.lstm(self.dropout(self.embedding(batch.targets)))
        real, lengths = batch.mask.unsqueeze(-1), batch.mask.sum(1)
        last = states[torch.arange(len(states)), lengths - 1]
        mean = (states * real).sum(1) / lengths.unsqueeze(-1)
        largest = states.masked_fill(~real, -math.inf).amax(1)
        return self.linear(self.dropout(torch.cat([last, mean, largest], dim=-1)))


class LSTMClassifier(ClassifierMixin, BaseEstimator):
    """A classifier of texts that learns from labelled texts alone.

    It trains for a fixed number of epochs on all texts. A fifth of 100 labels would be too few to choose an epoch by;
    with more labels, the accuracy on other text no longer changes while its loss rises.

    Args:
        tokenizer: splits the texts.
        embedding_size: size of the word vectors.
        hidden_size: size of the states.
        dropout: dropout rate on word vectors and summaries.
        maximum_length: longer texts are cut to this many tokens; None: never.
        start_from: a language model with the same tokenizer and sizes; None: random weights.
        epochs: number of passes over the texts; more if they have fewer than `LEAST_STEPS` steps.
        batch_size: texts in a step.
        learning_rate: learning rate of Adam.
        random_state: seed for the weights, the batches and dropout.

    Attributes:
        classes_: the labels, (C,).
        network_: the trained `Network`.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        embedding_size: int,
        hidden_size: int,
        *,
        dropout: float = 0.5,
        maximum_length: int | None = None,
        start_from: TextVAEModel | None = None,
        epochs: int = 10,
        batch_size: int = 32,
        learning_rate: float = 4e-3,
        random_state: int = 0,
    ) -> None:
        self.tokenizer = tokenizer
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.dropout = dropout
        self.maximum_length = maximum_length
        self.start_from = start_from
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state

    def fit(self, X: Sequence[str], y: Sequence[Any]) -> LSTMClassifier:
        """Learn from n texts and their labels."""
        self.classes_, labels = np.unique(y, return_inverse=True)
        with torch.random.fork_rng():
            torch.manual_seed(self.random_state)
            self.network_ = Network(
                len(self.tokenizer), self.embedding_size, self.hidden_size, len(self.classes_), self.dropout
            )
            if self.start_from is not None:
                self.network_.start_from(self.start_from)
            self._train(self._examples(X), torch.as_tensor(labels))
        return self

    def predict(self, X: Sequence[str]) -> NDArray[Any]:
        """The likeliest label of each of n texts, (n,)."""
        examples = self._examples(X)
        found = np.zeros(len(examples), dtype=np.int64)
        lengths = torch.tensor([[example["length"]] for example in examples])
        with torch.no_grad():
            for places in alike(lengths, 128, 0):
                found[places] = self.network_(self._batch(examples, places)).argmax(-1).numpy()
        return self.classes_[found]

    def _train(self, examples: list[dict[str, Any]], labels: Tensor) -> None:
        """Train on batches of texts of similar length, in a new random order in each epoch."""
        optimizer = torch.optim.Adam(self.network_.parameters(), self.learning_rate)
        lengths = [example["length"] for example in examples]
        batches = math.ceil(len(examples) / self.batch_size)
        for epoch in range(max(self.epochs, math.ceil(LEAST_STEPS / batches))):
            order = list(LengthGroupedSampler(lengths, self.batch_size, seed=self.random_state + epoch))
            for start in range(0, len(order), self.batch_size):
                places = order[start : start + self.batch_size]
                optimizer.zero_grad()
                scores = self.network_(self._batch(examples, places))
                functional.cross_entropy(scores, labels[places]).backward()
                nn.utils.clip_grad_norm_(self.network_.parameters(), 5.0)
                optimizer.step()
        self.network_.eval()

    @property
    def _fields(self) -> Fields:
        return Fields([TextField(self.tokenizer, self.maximum_length)])

    def _examples(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """The prepared texts."""
        (field,) = self._fields
        columns = field.prepare({"text": list(texts)})
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def _batch(self, examples: list[dict[str, Any]], places: Sequence[int]) -> Batch:
        return self._fields.collate([examples[place] for place in places])
