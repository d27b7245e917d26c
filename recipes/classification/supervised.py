"""A supervised LSTM, from random weights or from those of a language model, to compare with."""

from __future__ import annotations

import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from textvae.models.language import TextVAEModel
from textvae.modules.encoders import LSTMEncoder
from textvae.text.batches import Batch, Collator, LengthGroupedSampler, evaluation_loader, tokenize

BATCH = 32
EPOCHS = 40
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
    collator = Collator.for_tokenizer(tokenizer, labels=True)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    best, kept = float("inf"), model.state_dict()
    for epoch in range(EPOCHS):
        model.train()
        order = list(LengthGroupedSampler(train["length"], BATCH, seed=seed + epoch))
        for start in range(0, len(order), BATCH):
            batch = collator([train[place] for place in order[start : start + BATCH]])
            optimizer.zero_grad()
            functional.cross_entropy(model(batch), batch["labels"]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
        loss, _ = measured(model, parts["test"], tokenizer, maximum_length)
        if loss < best:
            best, kept = loss, {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(kept)
    return model


@torch.no_grad()
def measured(
    model: LSTMClassifier, rows: Dataset, tokenizer: PreTrainedTokenizerBase, maximum_length: int | None
) -> tuple[float, float]:
    """Cross-entropy in nats and accuracy on rows with ``text`` and ``label``."""
    model.eval()
    tokens = tokenize(rows, tokenizer, maximum_length=maximum_length)
    loader = evaluation_loader(tokens, Collator.for_tokenizer(tokenizer, labels=True), 128)
    lost, right = 0.0, 0
    for batch in loader:
        scores = model(batch)
        lost += float(functional.cross_entropy(scores, batch["labels"], reduction="sum"))
        right += int((scores.argmax(-1) == batch["labels"]).sum())
    return lost / len(rows), right / len(rows)
