"""All quantities of a model on a data set, streamed in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from itertools import count
from operator import length_hint
from typing import Any, Protocol

import torch
from datasets import Dataset, IterableDataset
from tokenizers.models import WordLevel
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from textvae.evaluation.classification import Classification
from textvae.evaluation.interventions import ReplacedLatents
from textvae.evaluation.latent_use import ConditionalLatentUse, LatentUse
from textvae.evaluation.likelihood import BoundSums, Model, bounds
from textvae.evaluation.reconstruction import Reconstructions
from textvae.models.base import VAEModel
from textvae.models.refinement import Refinement
from textvae.models.seq2seq import Seq2SeqVAEModel
from textvae.precision import check_bf16
from textvae.processes import hidden_bar, shared
from textvae.text.batches import Batch, Collator, evaluation_loader, tokenize


class Meter(Protocol):
    """What is taken from each batch, and the quantities of an `Evaluation` that come of it.

    A batch is measured by one process, and what is found is added up by all of them.
    """

    def measure(self, model: Any, batch: Batch, found: dict[str, Any], number: int) -> Any:
        """What there is to say of a batch, the ``number``-th from 0, by what `bounds` found of it."""

    def add(self, measured: Any) -> None:
        """Take in what was measured of the next batch."""

    def quantities(self) -> dict[str, Any]:
        """The quantities of all batches, by name."""


@dataclass(frozen=True)
class Evaluation:
    """What a model is worth on a data set. All bounds are at KL weight 1, without dropout and free bits.

    Of a conditional model, sentences are the targets, and all likelihoods and distributions are given the source.

    Attributes:
        neg_elbo: nats per sentence.
        iw_nll: importance-weighted bound on -log p(x), nats per sentence.
        iw_samples: its K; it falls as K rises, so two values compare only at one K.
        ppl: exp(total iw_nll / tokens), per token of the model's own tokenizer.
        tokens: targets, EOS counted, BOS not, UNK an ordinary token.
        sentences: number of sentences.
        latent_size: Z; without a latent the quantities that follow are 0 or None.
        kl: raw KL, nats per sentence.
        kl_per_dimension: its Z shares.
        mutual_information: I_q(x; z) in nats, at most the logarithm of ``mutual_information_sentences``; None for a
            conditional model, see `ConditionalLatentUse`.
        mutual_information_sentences: N posteriors of that estimate.
        active_units: latent dimensions in use.
        reconstruction: -E_q log p(x | z), nats per sentence: neg_elbo without the KL.
        reconstruction_prior_z: -log p(x | z) with z from the prior; a decoder that ignores z does as well with it.
        reconstruction_shuffled_z: the same with the z of another sentence.
        reconstruction_bleu: BLEU of the sentences decoded greedily from their posterior means against the originals.
        token_accuracy: how often the likeliest token, given the posterior mean and the words before, is the right one.
        reconstructed_sentences: on how many sentences these two were taken.
        bleu_signature: how sacreBLEU counted.
        bleu: of translations with z the mean of its prior, by beam search; only for a conditional model.
        bleu_zero_z: the same with z = 0.
        bleu_shuffled_z: the same with the z of another sentence.
        accuracy: how often the likeliest class of a model with classes is the right one, of the sentences whose label
            is known.
        entropy: mean exact -log p(x) under the grammar, of these very sentences; only for the embedded corpus.
        characters: Unicode characters of the sentences, the end of each counted as one; only where the tokens
            spell the text exactly, so that a likelihood of tokens is one of characters.
        bits_per_character: total iw_nll / ln 2 / characters.
    """

    neg_elbo: float
    iw_nll: float
    iw_samples: int
    ppl: float
    tokens: int
    sentences: int
    latent_size: int
    kl: float = 0.0
    mutual_information: float | None = 0.0
    mutual_information_sentences: int = 0
    active_units: int = 0
    kl_per_dimension: list[float] | None = None
    reconstruction: float | None = None
    reconstruction_prior_z: float | None = None
    reconstruction_shuffled_z: float | None = None
    reconstruction_bleu: float | None = None
    token_accuracy: float | None = None
    reconstructed_sentences: int | None = None
    bleu_signature: str | None = None
    bleu: float | None = None
    bleu_zero_z: float | None = None
    bleu_shuffled_z: float | None = None
    accuracy: float | None = None
    entropy: float | None = None
    characters: int | None = None
    bits_per_character: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The quantities by name, without those that do not apply."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def scalars(self) -> dict[str, float]:
        """The same as numbers alone, for logs: the KL of each dimension under a name of its own, no words."""
        quantities = self.to_dict()
        dimensions = quantities.pop("kl_per_dimension", [])
        numbers = {name: value for name, value in quantities.items() if not isinstance(value, str)}
        return numbers | {f"kl_of_dimension_{d}": value for d, value in enumerate(dimensions)}


def evaluate(
    model: Model,
    batches: Iterable[Batch],
    *,
    samples: int = 500,
    seed: int = 0,
    refinement: Refinement | None = None,
    bf16: bool = False,
    tokenizer: PreTrainedTokenizerBase | None = None,
    entropy: float | None = None,
    characters: int | None = None,
) -> Evaluation:
    """The `Evaluation` of ``model`` on ``batches``, in their order and in memory that does not grow with them.

    The model's mode and the global random state are as before afterwards, so that an evaluation in the midst of
    training changes nothing of it. Several processes share the batches, all of which each must be given; the result is
    that of one.

    Args:
        model: on any device.
        batches: on any device.
        samples: K of the importance-weighted bound.
        seed: of all draws; the same seed gives the same result.
        refinement: how each sentence's posterior is improved first, for all quantities; None: as the encoder gives it.
        bf16: compute products of matrices in bf16; False: as the caller has it, which is fp32 outside of autocast.
        tokenizer: the model's, if sentences are to be reconstructed, which those of a conditional model never are.
        entropy: handed through to the result.
        characters: of all sentences, if their bits are to be given per character.

    Raises:
        ValueError: if there is no batch.
        UserError: if the model has LSTMs and its CPU cannot compute them in bf16.
    """
    if bf16:
        check_bf16(model, model.device)
    # A model without z gives its exact likelihood.
    sums = BoundSums(samples if model.config.latent_size else 1)
    meters: list[Meter] = [sums]
    if model.config.latent_size and isinstance(model, Seq2SeqVAEModel):
        # A target that is decoded from its own posterior would have seen what it is to say.
        meters += [ConditionalLatentUse(), ReplacedLatents()]
    elif model.config.latent_size:
        meters += [LatentUse(seed), ReplacedLatents()]
        meters += [Reconstructions(tokenizer, length_hint(batches))] if tokenizer else []
        meters += [Classification()] if model.config.classes else []

    def measured(item: tuple[int, Batch, int]) -> list[Any]:
        number, batch, own_seed = item
        torch.manual_seed(own_seed)
        here = batch.to(model.device)
        with torch.autocast(model.device.type, torch.bfloat16) if bf16 else nullcontext():
            found = bounds(model, here, samples, refinement)
            return [meter.measure(model, here, found, number) for meter in meters]

    with evaluating(model, seed):
        for results in shared(zip(count(), batches, _seeds(seed)), measured):
            for meter, result in zip(meters, results, strict=True):
                meter.add(result)
    if not sums.sentences:
        raise ValueError("expected one batch or more to evaluate, got none")
    quantities = {name: value for meter in meters for name, value in meter.quantities().items()}
    bits = quantities["iw_nll"] * sums.sentences / math.log(2)
    return Evaluation(
        **quantities,
        latent_size=model.config.latent_size,
        entropy=entropy,
        characters=characters,
        bits_per_character=bits / characters if characters else None,
    )


def evaluate_rows(
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    rows: Dataset | IterableDataset,
    *,
    source_tokenizer: PreTrainedTokenizerBase | None = None,
    maximum_length: int | None = None,
    batch_size: int = 32,
    samples: int = 500,
    seed: int = 0,
    refinement: Refinement | None = None,
    bf16: bool = False,
    show_progress_bar: bool | None = None,
) -> Evaluation:
    """The `Evaluation` of ``model`` on a split of a corpus.

    Args:
        model: on any device.
        tokenizer: the model's.
        rows: a split as `load_corpus` gives it, with a column ``text``, and ``log_prob`` if its entropy is known; for a
            conditional model with ``source`` and ``target``.
        source_tokenizer: of a conditional model.
        maximum_length: longer sentences are cut to so many tokens, EOS counted; None: never.
        batch_size: sentences at once.
        samples: K of the importance-weighted bound.
        seed: of all draws.
        refinement: how each sentence's posterior is improved first; None: as the encoder gives it.
        bf16: compute products of matrices in bf16, which is faster where the hardware is.
        show_progress_bar: None: only on a terminal.
    """
    tokens = tokenize(rows, tokenizer, source_tokenizer=source_tokenizer, maximum_length=maximum_length)
    collator = collator_for(model, tokenizer, source_tokenizer)
    loader = evaluation_loader(tokens, collator, batch_size)
    stored = isinstance(rows, Dataset)
    cut = stored and maximum_length is not None and max(tokens["length"], default=0) >= maximum_length
    written = "text" if source_tokenizer is None else "target"
    return evaluate(
        model,
        tqdm(loader, desc="evaluating", unit=" batches", disable=hidden_bar(show_progress_bar)),
        samples=samples,
        seed=seed,
        refinement=refinement,
        bf16=bf16,
        tokenizer=tokenizer,
        entropy=exact_entropy(rows) if stored and written == "text" else None,
        characters=_characters(rows[written]) if stored and not cut and spells_exactly(tokenizer) else None,
    )


def collator_for(
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    source_tokenizer: PreTrainedTokenizerBase | None = None,
) -> Collator:
    """What makes the batches that ``model`` reads."""
    labels = not isinstance(model, Seq2SeqVAEModel) and model.config.classes is not None
    return Collator.for_tokenizer(tokenizer, labels, source_tokenizer)


def exact_entropy(rows: Dataset) -> float | None:
    """Mean exact -log p(x) of a split in nats per sentence, where its rows say it: the embedded corpus's do."""
    if "log_prob" not in rows.column_names:
        return None
    return -math.fsum(rows["log_prob"]) / len(rows)


def spells_exactly(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokens give back the text: pieces do, words do not, as UNK stands for many of them."""
    return not isinstance(tokenizer.backend_tokenizer.model, WordLevel)


def _characters(texts: Iterable[str]) -> int:
    """Unicode characters of sentences, the end of each counted as one."""
    return sum(len(text) + 1 for text in texts)


def _seeds(seed: int) -> Iterator[int]:
    """One of each batch, so that its draws do not depend on which others a process has measured before."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield int(torch.randint(2**63 - 1, (), generator=generator))


@contextmanager
def evaluating(model: VAEModel, seed: int | None = None) -> Iterator[None]:
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
