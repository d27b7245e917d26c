"""All quantities of a model on a data set, streamed in bounded memory."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch
from datasets import Dataset, IterableDataset
from tokenizers.models import WordLevel
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from textvae.evaluation.latent_use import MomentsOfMeans, mutual_information
from textvae.evaluation.likelihood import bounds
from textvae.models.language import TextVAEModel
from textvae.text.batches import Batch, Collator, evaluation_loader, tokenize

POSTERIORS = 20_000
"""Posteriors kept for the mutual information, whose cost grows with the square of their number."""


@dataclass(frozen=True)
class Evaluation:
    """What a model is worth on a data set. All bounds are at KL weight 1, without dropout and free bits.

    Attributes:
        neg_elbo: nats per sentence.
        iw_nll: importance-weighted bound on -log p(x), nats per sentence.
        iw_samples: its K; it falls as K rises, so two values compare only at one K.
        ppl: exp(total iw_nll / tokens), per token of the model's own tokenizer.
        kl: raw KL, nats per sentence.
        mutual_information: I_q(x; z) in nats, at most the logarithm of ``mutual_information_sentences``.
        mutual_information_sentences: N posteriors of that estimate.
        active_units: latent dimensions in use.
        latent_size: Z.
        tokens: targets, EOS counted, BOS not, UNK an ordinary token.
        sentences: number of sentences.
        entropy: mean exact -log p(x) under the grammar, of these very sentences; only for the embedded corpus.
        characters: Unicode characters of the sentences, the end of each counted as one; only where the tokens
            spell the text exactly, so that a likelihood of tokens is one of characters.
        bits_per_character: total iw_nll / ln 2 / characters.
    """

    neg_elbo: float
    iw_nll: float
    iw_samples: int
    ppl: float
    kl: float
    mutual_information: float
    mutual_information_sentences: int
    active_units: int
    latent_size: int
    tokens: int
    sentences: int
    entropy: float | None = None
    characters: int | None = None
    bits_per_character: float | None = None

    def to_dict(self) -> dict[str, float]:
        """The quantities by name, without those that do not apply."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def evaluate(
    model: TextVAEModel,
    batches: Iterable[Batch],
    *,
    samples: int = 500,
    seed: int = 0,
    entropy: float | None = None,
    characters: int | None = None,
) -> Evaluation:
    """The `Evaluation` of ``model`` on ``batches``, in their order and in memory that does not grow with them.

    The model's mode and the global random state are as before afterwards, so that an evaluation in the midst of
    training changes nothing of it.

    Args:
        model: on any device.
        batches: on any device.
        samples: K of the importance-weighted bound.
        seed: of all draws; the same seed gives the same result.
        entropy: handed through to the result.
        characters: of all sentences, if their bits are to be given per character.

    Raises:
        ValueError: if there is no batch.
    """
    sums: dict[str, float] = dict.fromkeys(("neg_elbo", "iw_nll", "kl"), 0.0)
    tokens = sentences = 0
    moments = MomentsOfMeans(model.config.latent_size)
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []
    with evaluating(model, seed):
        for batch in batches:
            result = bounds(model, batch.to(model.device), samples)
            for name in sums:
                sums[name] += float(result[name].double().sum())
            if sentences < POSTERIORS:
                kept.append((result["mean"].cpu(), result["scale"].cpu()))
            moments.update(result["mean"])
            tokens += int(batch.lengths.sum())
            sentences += len(batch.lengths)
    if not sentences:
        raise ValueError("expected one batch or more to evaluate, got none")
    mean, scale = (torch.cat(parts)[:POSTERIORS] for parts in zip(*kept, strict=True))
    return Evaluation(
        neg_elbo=sums["neg_elbo"] / sentences,
        iw_nll=sums["iw_nll"] / sentences,
        iw_samples=samples if model.config.latent_size else 1,
        ppl=_exp(sums["iw_nll"] / tokens),
        kl=sums["kl"] / sentences,
        mutual_information=mutual_information(mean, scale, torch.Generator().manual_seed(seed)),
        mutual_information_sentences=len(mean),
        active_units=moments.active_units(),
        latent_size=model.config.latent_size,
        tokens=tokens,
        sentences=sentences,
        entropy=entropy,
        characters=characters,
        bits_per_character=sums["iw_nll"] / math.log(2) / characters if characters else None,
    )


def _exp(x: float) -> float:
    """e to the x, infinite where `math.exp` raises: a run that diverges must come as far as its own message."""
    return math.exp(x) if x < math.log(sys.float_info.max) else math.inf


def evaluate_rows(
    model: TextVAEModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Dataset | IterableDataset,
    *,
    maximum_length: int | None = None,
    batch_size: int = 32,
    samples: int = 500,
    seed: int = 0,
    show_progress_bar: bool | None = None,
) -> Evaluation:
    """The `Evaluation` of ``model`` on a split of a corpus.

    Args:
        model: on any device.
        tokenizer: the model's.
        rows: a split as `load_corpus` gives it, with a column ``text``, and ``log_prob`` if its entropy is known.
        maximum_length: longer sentences are cut to so many tokens, EOS counted; None: never.
        batch_size: sentences at once.
        samples: K of the importance-weighted bound.
        seed: of all draws.
        show_progress_bar: None: only on a terminal.
    """
    tokens = tokenize(rows, tokenizer, maximum_length=maximum_length)
    loader = evaluation_loader(tokens, Collator.for_tokenizer(tokenizer), batch_size)
    hidden = None if show_progress_bar is None else not show_progress_bar
    stored = isinstance(rows, Dataset)
    cut = stored and maximum_length is not None and max(tokens["length"], default=0) >= maximum_length
    return evaluate(
        model,
        tqdm(loader, desc="evaluating", unit=" batches", disable=hidden),
        samples=samples,
        seed=seed,
        entropy=exact_entropy(rows) if stored else None,
        characters=_characters(rows) if stored and not cut and spells_exactly(tokenizer) else None,
    )


def exact_entropy(rows: Dataset) -> float | None:
    """Mean exact -log p(x) of a split in nats per sentence, where its rows say it: the embedded corpus's do."""
    if "log_prob" not in rows.column_names:
        return None
    return -math.fsum(rows["log_prob"]) / len(rows)


def spells_exactly(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokens give back the text: pieces do, words do not, as UNK stands for many of them."""
    return not isinstance(tokenizer.backend_tokenizer.model, WordLevel)


def _characters(rows: Dataset) -> int:
    """Unicode characters of the column ``text``, the end of each sentence counted as one."""
    return sum(len(text) + 1 for text in rows["text"])


@contextmanager
def evaluating(model: TextVAEModel, seed: int | None = None) -> Iterator[None]:
    """``model`` in evaluation mode, without gradients; its mode is as before afterwards.

    Args:
        model: on any device.
        seed: of all draws inside, which then leave the global random state as it was; None draws from that.
    """
    training = model.training
    devices = [model.device] if model.device.type == "cuda" else []
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices, enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            yield
    finally:
        model.train(training)
