"""Reconstruction of sentences from their latent vectors: BLEU and token accuracy."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from sacrebleu.metrics.bleu import BLEU
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from textvae.evaluation.quantities import PERCENT, Description, Meter, Setting
from textvae.inference.bounds import Bounds
from textvae.support.options import Count, validated
from textvae.text.batches import Batch
from textvae.text.tokenizer import decode_rows

SENTENCES = 1_000
"""About this many sentences are decoded, enough for one digit after the decimal point."""

LONGER = 10
"""A reconstruction may have this many tokens more than the longest sentence of its batch."""


@validated
class Reconstructions(Meter):
    """BLEU and token accuracy of about a thousand sentences, decoded greedily from their posterior means.

    Args:
        tokenizer: decodes tokens to text; the reference is the sentence as the model read it.
        batches: number of batches; the decoded ones are spread evenly over them. 0: unknown, decode the first ones.
    """

    describes = (
        Description("reconstruction_bleu", decimals=1, greater_is_better=True),
        Description("token_accuracy", PERCENT, decimals=1, greater_is_better=True),
        Description("reconstructed_sentences", shown=False),
        Description("bleu_signature", shown=False),
    )

    def __init__(self, tokenizer: PreTrainedTokenizerBase, batches: Count = 0) -> None:
        self.tokenizer, self.batches = tokenizer, batches
        self.metric = BLEU(force=True)  # silences the warning about text that is already split
        # It has a signature only after it has scored, and not every process scores a batch.
        self.metric.corpus_score([""], [[""]])
        self.sums: dict[str, Any] = {}

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """For models that write text from z alone, without a condition."""
        tokenizer: Any = setting.fields.tokenizer if setting.fields else None
        applies = setting.model.has_latent and tokenizer is not None and not setting.has_condition
        return cls(tokenizer, setting.batches) if applies and hasattr(setting.model, "generate") else None

    def measure(
        self, model: Any, batch: Batch, found: Bounds, number: int, generator: torch.Generator
    ) -> dict[str, Any]:
        """Reconstruct a batch from its posterior means, or skip it."""
        stride = max(1, round(self.batches * batch.size / SENTENCES))
        if number % stride or number // stride * batch.size >= SENTENCES:
            return {}
        posterior = found.reading.posterior
        return self._reconstruct(model, batch, posterior.mode)

    def add(self, measured: dict[str, Any]) -> None:
        """Add the measurement of the next batch."""
        for name, count in measured.items():
            self.sums[name] = self.sums.get(name, 0) + count

    def _reconstruct(self, model: Any, batch: Batch, mean: Tensor) -> dict[str, Any]:
        ids = model.generate(mean, max_new_tokens=batch.targets.shape[1] + LONGER)
        references = decode_rows(self.tokenizer, batch.targets.tolist())
        score = self.metric.corpus_score(decode_rows(self.tokenizer, ids.tolist()), [references])
        right = model.likeliest(mean, batch.inputs, batch.mask) == batch.targets[batch.mask]
        return {
            "matches": np.array(score.counts),
            "ngrams": np.array(score.totals),
            "written": score.sys_len,
            "expected": score.ref_len,
            "right": int(right.sum()),
            "tokens": len(right),
            "sentences": len(mean),
        }

    def results(self) -> dict[str, tuple[Any, str]]:
        """BLEU and token accuracy."""
        sums = self.sums
        score = BLEU.compute_bleu(
            sums["matches"].tolist(),
            sums["ngrams"].tolist(),
            sums["written"],
            sums["expected"],
            smooth_method=self.metric.smooth_method,
        )
        signature = str(self.metric.get_signature())
        how = f"greedy, from posterior means; {sums['sentences']:,} sentences; {signature}"
        return {
            "reconstruction_bleu": (score.score, how),
            "token_accuracy": (
                sums["right"] / sums["tokens"],
                "the same sentences, given the previous tokens",
            ),
            "reconstructed_sentences": (sums["sentences"], ""),
            "bleu_signature": (signature, ""),
        }
