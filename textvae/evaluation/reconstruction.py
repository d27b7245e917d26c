"""How much of a sentence comes back from its latent vector: BLEU and token accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from textvae.models.language import TextVAEModel
from textvae.text.batches import Batch
from textvae.text.tokenizer import decode_rows

SENTENCES = 1_000
"""How many, about, are decoded again: enough for a digit behind the point."""

LONGER = 10
"""So many tokens more than the longest sentence of its batch a reconstruction may have."""


class Reconstructions:
    """BLEU and accuracy of about a thousand sentences decoded greedily from their posterior means.

    Args:
        tokenizer: gives back the text of tokens; the reference is the sentence as the model saw it.
        batches: how many there will be, so that those that are decoded lie evenly among them; 0: unknown, the first.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, batches: int = 0) -> None:
        self.tokenizer, self.batches = tokenizer, batches
        self.metric = BLEU(force=True)  # without its advice on text that is already split
        # How it counts it says only after it has, which of several processes not all have.
        self.metric.corpus_score([""], [[""]])
        self.sums: dict[str, Any] = {}

    def measure(
        self, model: TextVAEModel, batch: Batch, found: dict[str, Any], number: int
    ) -> dict[str, Any]:
        """Reconstruct a batch from the posterior means, or leave it out."""
        sentences = len(batch.lengths)
        stride = max(1, round(self.batches * sentences / SENTENCES))
        if number % stride or number // stride * sentences >= SENTENCES:
            return {}
        return self._reconstruct(model, batch, found["posterior"].mode)

    def add(self, measured: dict[str, Any]) -> None:
        """Take in what was measured of the next batch."""
        for name, count in measured.items():
            self.sums[name] = self.sums.get(name, 0) + count

    def _reconstruct(self, model: TextVAEModel, batch: Batch, mean: Tensor) -> dict[str, Any]:
        ids = model.generate(mean, max_new_tokens=batch.targets.shape[1] + LONGER)
        references = decode_rows(self.tokenizer, batch.targets.tolist())
        score = self.metric.corpus_score(decode_rows(self.tokenizer, ids.tolist()), [references])
        states, _ = model.decoder(batch.inputs, mean[None])
        likeliest = model.output_layer.likeliest(states[0, batch.mask])
        return {
            "matches": np.array(score.counts),
            "ngrams": np.array(score.totals),
            "written": score.sys_len,
            "expected": score.ref_len,
            "right": int((likeliest == batch.targets[batch.mask]).sum()),
            "tokens": len(likeliest),
            "sentences": len(mean),
        }

    def quantities(self) -> dict[str, Any]:
        """The quantities of `Evaluation` that say how much comes back."""
        sums = self.sums
        score = BLEU.compute_bleu(
            sums["matches"].tolist(),
            sums["ngrams"].tolist(),
            sums["written"],
            sums["expected"],
            smooth_method=self.metric.smooth_method,
        )
        return {
            "reconstruction_bleu": score.score,
            "token_accuracy": sums["right"] / sums["tokens"],
            "reconstructed_sentences": sums["sentences"],
            "bleu_signature": str(self.metric.get_signature()),
        }
