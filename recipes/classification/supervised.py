"""A supervised LSTM, from random weights or from those of a language model, to compare with."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from textvae.models.language import TextVAEModel
from textvae.modules.encoders import LSTMEncoder
from textvae.text.batches import Batch, Collator, LengthGroupedSampler, evaluation_loader, tokenize

BATCH = 32
EPOCHS, STEPS = 40, 1_500
"""At least so many of each, so that few labels do not mean few steps; the best epoch is kept anyway."""
HELD_OUT = 0.2


class LSTMClassifier(nn.Module):
    """softmax(W s + b) of an LSTM encoder's summary s.

    Args:
        vocabulary_size: V.
        embedding_size: size of the word vectors.
        hidden_size: D of the summaries.
        classes: C.
        dropout: on word vectors and summaries.
    """

    def __init__(
        self, vocabulary_size: int, embedding_size: int, hidden_size: int, classes: int, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.encoder = LSTMEncoder(
            vocabulary_size=vocabulary_size, embedding_size=embedding_size, hidden_size=hidden_size
        )
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(self.encoder.output_size, classes)

    def start_from(self, language_model: TextVAEModel) -> None:
        """Read as the decoder of a language model reads."""
        given = language_model.decoder.state_dict()
        self.encoder.load_state_dict({name: given[name] for name in self.encoder.state_dict()})

    def forward(self, batch: Batch) -> Tensor:
        """Scores of the classes, (B, C)."""
        return self.linear(self.dropout(self.encoder(batch.targets, batch.mask)))


def trained(
    model: LSTMClassifier,
    rows: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    maximum_length: int | None,
    seed: int,
) -> LSTMClassifier:
    """The model after training on rows with ``text`` and ``label``, as it was in its best epoch on a fifth held out."""
    torch.manual_seed(seed)
    parts = rows.train_test_split(HELD_OUT, seed=seed, stratify_by_column="label")
    train = tokenize(parts["train"], tokenizer, maximum_length=maximum_length)
    held_out = list(batches_of(parts["test"], tokenizer, maximum_length))
    collator = Collator.for_tokenizer(tokenizer, labels=True)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    best, kept = float("inf"), model.state_dict()
    examples, batches = list(train), math.ceil(len(train) / BATCH)
    for epoch in range(max(EPOCHS, math.ceil(STEPS / batches))):
        model.train()
        order = list(LengthGroupedSampler(train["length"], BATCH, seed=seed + epoch))
        for start in range(0, len(order), BATCH):
            batch = collator([examples[place] for place in order[start : start + BATCH]])
            optimizer.zero_grad()
            functional.cross_entropy(model(batch), batch["labels"]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
        loss, _ = measured(model, held_out)
        if loss < best:
            best, kept = loss, {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(kept)
    return model


def batches_of(
    rows: Dataset, tokenizer: PreTrainedTokenizerBase, maximum_length: int | None
) -> DataLoader[Batch]:
    """Rows with ``text`` and ``label``, ready for `measured`."""
    tokens = tokenize(rows, tokenizer, maximum_length=maximum_length)
    return evaluation_loader(tokens, Collator.for_tokenizer(tokenizer, labels=True), 128)


@torch.no_grad()
def measured(model: LSTMClassifier, batches: Iterable[Batch]) -> tuple[float, float]:
    """Mean cross-entropy in nats, and accuracy."""
    model.eval()
    lost, right, rows = 0.0, 0, 0
    for batch in batches:
        scores = model(batch)
        lost += float(functional.cross_entropy(scores, batch["labels"], reduction="sum"))
        right += int((scores.argmax(-1) == batch["labels"]).sum())
        rows += len(scores)
    return lost / rows, right / rows
