"""How much of a sentence comes back from its latent vector: BLEU and token accuracy."""

from __future__ import annotations

from typing import Any

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
        self.seen = self.sentences = 0
        self.metric = BLEU(force=True)  # without its advice on text that is already split
        self.matches, self.ngrams = [0] * self.metric.max_ngram_order, [0] * self.metric.max_ngram_order
        self.written = self.expected = self.right = self.tokens = 0

    def update(self, model: TextVAEModel, batch: Batch, found: dict[str, Any]) -> None:
        """Reconstruct a batch from the posterior means, or leave it out."""
        number, self.seen = self.seen, self.seen + 1
        stride = max(1, round(self.batches * len(batch.lengths) / SENTENCES))
        if number % stride == 0 and self.sentences < SENTENCES:
            self._reconstruct(model, batch, found["posterior"].mode)

    def _reconstruct(self, model: TextVAEModel, batch: Batch, mean: Tensor) -> None:
        ids = model.generate(mean, max_new_tokens=batch.targets.shape[1] + LONGER)
        references = decode_rows(self.tokenizer, batch.targets.tolist())
        score = self.metric.corpus_score(decode_rows(self.tokenizer, ids.tolist()), [references])
        self.matches = [sum(pair) for pair in zip(self.matches, score.counts, strict=True)]
        self.ngrams = [sum(pair) for pair in zip(self.ngrams, score.totals, strict=True)]
        self.written += score.sys_len
        self.expected += score.ref_len
        states, _ = model.decoder(batch.inputs, mean[None])
        likeliest = model.output_layer.likeliest(states[0, batch.mask])
        self.right += int((likeliest == batch.targets[batch.mask]).sum())
        self.tokens += len(likeliest)
        self.sentences += len(mean)

    def quantities(self) -> dict[str, Any]:
        """The quantities of `Evaluation` that say how much comes back."""
        score = BLEU.compute_bleu(
            self.matches, self.ngrams, self.written, self.expected, smooth_method=self.metric.smooth_method
        )
        return {
            "reconstruction_bleu": score.score,
            "token_accuracy": self.right / self.tokens,
            "reconstructed_sentences": self.sentences,
            "bleu_signature": str(self.metric.get_signature()),
        }
