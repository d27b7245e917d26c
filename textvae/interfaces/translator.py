"""`Translator`: a seq2seq VAE with its two tokenizers, which takes and returns strings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from textvae.inference.mode import evaluating
from textvae.interfaces.batching import at_once, decoding
from textvae.interfaces.interface import Interface
from textvae.models.seq2seq import Latent, Seq2SeqVAEModel
from textvae.support.errors import UserError
from textvae.support.randomness import generator_of
from textvae.support.seeds import check_seed
from textvae.text.fields import SourceField, TargetField
from textvae.text.given import as_list
from textvae.text.tokenizer import decode_rows

BEAMS = 5
"""Default beam size."""


@dataclass(frozen=True)
class _Search:
    """How to find the translations of each text.

    Attributes:
        latent: "sample" draws z from the prior, "mean" takes the prior mean.
        latents: number of z for each text.
        together: number of translations for each z.
        options: options of `GenerationMixin.generate`, including ``num_beams``.
        rescore: K, the samples of the bound that ranks the translations; None: do not rescore.
        length_penalty: the bound is divided by length ** length_penalty.

    Raises:
        UserError: if the beam is too small for the translations of one z.
    """

    latent: Latent
    latents: int
    together: int
    options: dict[str, Any]
    rescore: int | None
    length_penalty: float

    def __post_init__(self) -> None:
        beams, together = self.options["num_beams"], self.together
        if together > beams and not (beams == 1 and self.options["do_sample"]):
            raise UserError(
                f"expected num_beams of {together} or more for {together} translations of one z, got {beams}: increase "
                "num_beams, or sample the words with a temperature"
            )

    @property
    def translations(self) -> int:
        """The number of translations of each text."""
        return self.latents * self.together

    @property
    def hypotheses(self) -> int:
        """The number of hypotheses for each text that are in memory at the same time."""
        return self.latents * max(self.options["num_beams"], self.together)


class Translator(Interface):
    """A `Seq2SeqVAEModel` with the tokenizers of source and target.

    No method changes the model's mode. A method with a seed leaves the global random state as it is.

    Args:
        model: the model, on any device.
        tokenizer: the tokenizer of the targets.
        source_tokenizer: the tokenizer of the sources.

    Raises:
        UserError: if the vocabulary of a tokenizer and the model's differ in size.

    Example:
        >>> translator = Translator.from_pretrained("runs/multi30k")                 # doctest: +SKIP
        >>> translator.translate(["A dog runs in the snow."], num_beams=10)          # doctest: +SKIP
        ['Ein Hund rennt im Schnee.']
        >>> translator.translate(["A dog runs in the snow."], samples=10, seed=0)    # doctest: +SKIP
    """

    kind = Seq2SeqVAEModel
    field_kinds = (TargetField, SourceField)

    def __init__(
        self,
        model: Seq2SeqVAEModel,
        tokenizer: PreTrainedTokenizerBase,
        source_tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        super().__init__(model, tokenizer, source_tokenizer)

    @property
    def source_tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of the sentences to translate."""
        return self.fields.of_kind(SourceField).tokenizer

    def translate(
        self,
        texts: Any,
        *,
        num_beams: int | None = None,
        samples: int | None = None,
        length_penalty: float = 1.0,
        rescore: int | None = None,
        latent: Latent | None = None,
        maximum_length: int = 100,
        batch_size: int | None = None,
        seed: int | None = None,
        show_progress_bar: bool | None = None,
        **options: Any,
    ) -> Any:
        """The translations of texts, in order. The translation of a blank text is blank.

        With ``samples``, each translation has its own z from the prior, and is the best translation for that z. With
        ``latent="mean"``, or for a model without z, the N translations are the N best of one beam search or, if the
        options set a ``temperature``, N samples of the words.

        Args:
            texts: n texts in any form that `given.as_list` takes, or a single one.
            num_beams: beam size, 1 is greedy; None: `BEAMS`, or 1 if words are sampled.
            samples: N, the number of translations of each text; None: one.
            length_penalty: hypotheses are ranked by log-probability / length ** length_penalty.
            rescore: K: rank the N translations, or without ``samples`` all hypotheses of the beam, by the
                importance-weighted bound on log p(y | x) with K samples instead of the log-probability; None: do not.
            latent: "sample" draws z from the prior, "mean" takes the prior mean; None: "sample" if ``samples`` is set,
                otherwise "mean".
            maximum_length: maximum tokens of a translation, unless ``options`` set another limit.
            batch_size: sentences at once; None: as many as make 256 beams or samples.
            seed: seed for z and the words; None: use the global random state.
            show_progress_bar: None: only on a terminal.
            **options: options of `GenerationMixin.generate`; a ``temperature``, ``top_k`` or ``top_p`` implies
                ``do_sample``.

        Returns:
            n strings; with ``samples``, n lists of N strings.

        Raises:
            UserError: if a text is not a string, the seed is out of range, or the beam is smaller than N.
        """
        check_seed(seed)
        texts = as_list(texts)
        chosen = decoding(options, max_new_tokens=maximum_length)
        search = self._search(chosen, num_beams, samples, length_penalty, rescore, latent)
        written = [text for text in texts if text.strip()]
        found = iter(self._searched(written, search, seed, batch_size, show_progress_bar))
        sets = [next(found) if text.strip() else [""] * search.translations for text in texts]
        return sets if samples else [own[0] for own in sets]

    def _search(
        self,
        options: dict[str, Any],
        num_beams: int | None,
        samples: int | None,
        length_penalty: float,
        rescore: int | None,
        latent: Latent | None,
    ) -> _Search:
        """The search that arguments of `translate` ask for; ``options`` are completed by `decoding`."""
        if options.pop("num_return_sequences", 1) != 1:
            raise UserError(
                "expected samples for several translations of a text, got num_return_sequences: use samples"
            )
        default = options.get("num_beams", 1 if options["do_sample"] else BEAMS)
        beams = default if num_beams is None else num_beams
        if beams < 1 or (samples is not None and samples < 1):
            raise UserError(f"expected 1 sample and 1 beam or more, got {samples} and {beams}")
        options |= {"num_beams": beams}
        if beams > 1:
            options = {"length_penalty": length_penalty} | options
        latent = latent or ("sample" if samples else "mean")
        if not self.model.config.latent_size:
            latent = "mean"
        wanted = samples or (beams if rescore else 1)
        latents = wanted if samples and latent == "sample" else 1
        return _Search(latent, latents, wanted // latents, options, rescore, length_penalty)

    def _searched(
        self,
        texts: list[str],
        search: _Search,
        seed: int | None,
        batch_size: int | None,
        show_progress_bar: bool | None,
    ) -> list[list[str]]:
        """The translations of each text, the best first if they are rescored."""
        with evaluating(self.model):
            found = self._generated(texts, search, generator_of(seed), batch_size, show_progress_bar)
        if not search.rescore:
            return found
        pairs = [(source, text) for source, own in zip(texts, found, strict=True) for text in own]
        targets = [text for _, text in pairs]
        bound = self.log_likelihood(
            [source for source, _ in pairs],
            targets,
            search.rescore,
            seed=seed,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
        )
        lengths = np.array([len(ids) + 1 for ids in _ids(self.tokenizer, targets)])  # with EOS
        scores = iter(bound / lengths**search.length_penalty)
        ranked = [[(-next(scores), place, text) for place, text in enumerate(own)] for own in found]
        return [[text for *_, text in sorted(own)] for own in ranked]

    def _generated(
        self,
        texts: list[str],
        search: _Search,
        generator: torch.Generator | None,
        batch_size: int | None,
        show_progress_bar: bool | None,
    ) -> list[list[str]]:
        """The translations of each text, in the order in which the model generates them."""
        rows = self._pairs(texts, [""] * len(texts))
        found: list[list[str]] = [[] for _ in rows]
        each = search.translations
        at_most = batch_size or at_once(search.hypotheses)
        for places, batch in self._batches(rows, at_most, show_progress_bar, "translating"):
            names = ("source", "source_mask")
            source, mask = (batch[name].repeat_interleave(search.latents, 0) for name in names)
            ids = self.model.translate(
                source,
                mask,
                latent=search.latent,
                generator=generator,
                num_return_sequences=search.together,
                **search.options,
            )
            lines = decode_rows(self.tokenizer, ids.tolist())
            for number, place in enumerate(places):
                found[place] = lines[number * each : (number + 1) * each]
        return found

    def log_likelihood(
        self,
        sources: str | Sequence[str],
        targets: str | Sequence[str],
        samples: int = 100,
        *,
        seed: int | None = 0,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
    ) -> NDArray[np.float64]:
        """The importance-weighted lower bound on log p(target | source) of each pair in nats, (n,), in order.

        The expected bound increases with ``samples``. For a model without z it is exact. The samples of a pair depend
        on the seed and on the other pairs in the call.

        Args:
            sources: n sentences, or a single one.
            targets: n translations, or a single one.
            samples: K, the number of posterior samples for each pair.
            seed: seed for the posterior samples; None: use the global random state.
            batch_size: pairs at once; None: one if ``samples`` is large, more if it is small.
            show_progress_bar: None: only on a terminal.

        Raises:
            UserError: if the numbers of sources and targets differ, ``samples`` is less than 1, or the seed is out of
                range.
        """
        rows = self._pairs(as_list(sources), as_list(targets))
        return self._log_likelihood(rows, samples, seed, batch_size, show_progress_bar)

    def attention(self, source: str, target: str) -> NDArray[np.float32]:
        """The attention weight from each target token to each source token, (T, S); each row sums to 1.

        `tokens` returns the tokens of rows and columns. z is the posterior mean.

        Args:
            source: a sentence.
            target: its translation.
        """
        with evaluating(self.model):
            batch = self.fields.collate(self._pairs([source], [target])).to(self.model.device)
            return self.model.attention(batch)[0].float().cpu().numpy()

    def tokens(self, source: str, target: str) -> tuple[list[str], list[str]]:
        """The source tokens and the target tokens as strings, each with EOS.

        Args:
            source: a sentence.
            target: its translation.
        """
        pair = self._pairs([source], [target])[0]
        return _tokens(self.source_tokenizer, pair["source_ids"]), _tokens(self.tokenizer, pair["ids"])

    def _pairs(self, sources: list[str], targets: list[str]) -> list[dict[str, Any]]:
        """Each pair as a row of token ids and lengths, EOS included in the lengths."""
        if len(sources) != len(targets):
            raise UserError(f"expected a target for each of {len(sources)} sources, got {len(targets)}")
        ids = zip(_ids(self.tokenizer, targets), _ids(self.source_tokenizer, sources), strict=True)
        return [
            {"ids": target, "length": len(target) + 1, "source_ids": source, "source_length": len(source) + 1}
            for target, source in ids
        ]


def _ids(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """The token ids of each text, without BOS and EOS."""
    # verbose=False: no warning about texts longer than the training sentences.
    return tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"] if texts else []


def _tokens(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[str]:
    """The tokens as strings, with EOS."""
    return list(tokenizer.convert_ids_to_tokens([*ids, tokenizer.eos_token_id]))
