"""A conditional model and its tokenizers, for people with strings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from textvae.errors import UserError
from textvae.files import replacing_files_in
from textvae.inference.bounds import bounds, tokens_at_once
from textvae.inference.mode import evaluating
from textvae.models.checkpoint import load_run, silenced
from textvae.models.seq2seq import Latent, Seq2SeqVAEModel
from textvae.seeds import check_seed
from textvae.support.randomness import generator_of
from textvae.text.batches import Batch
from textvae.text.fields import Fields, SourceField, TargetField
from textvae.text.given import as_list
from textvae.text.tokenizer import decode_rows
from textvae.texts import at_once, batches_of, decoding

BEAMS = 5
"""Of a beam search, where nothing else is said."""


class Translator:
    """A `Seq2SeqVAEModel` and the tokenizers of its two sides.

    No method changes the model's mode or, where it takes a seed, the global random state.

    Args:
        model: on any device.
        tokenizer: that of the targets.
        source_tokenizer: that of the sources.

    Raises:
        UserError: if the tokenizers' vocabularies are not the model's.

    Example:
        >>> translator = Translator.from_pretrained("runs/multi30k")                 # doctest: +SKIP
        >>> translator.translate(["A dog runs in the snow."], num_beams=10)          # doctest: +SKIP
        ['Ein Hund rennt im Schnee.']
        >>> translator.translate(["A dog runs in the snow."], samples=10, seed=0)    # doctest: +SKIP
    """

    def __init__(
        self,
        model: Seq2SeqVAEModel,
        tokenizer: PreTrainedTokenizerBase,
        source_tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        wanted = model.config.vocab_size, model.config.source_vocab_size
        if wanted != (len(tokenizer), len(source_tokenizer)):
            raise UserError(
                f"expected the tokenizers that the model was trained with, of {wanted[0]} target and {wanted[1]} "
                f"source tokens, got {len(tokenizer)} and {len(source_tokenizer)}: take all from one run"
            )
        self.model, self.tokenizer, self.source_tokenizer = model, tokenizer, source_tokenizer
        self.fields = Fields([TargetField.of(tokenizer), SourceField.of(source_tokenizer)])

    @classmethod
    def from_pretrained(cls, run: str | Path, device: str | torch.device | None = None) -> Translator:
        """Load a run folder or one of its checkpoints.

        Args:
            run: a folder.
            device: where the model goes; None: the GPU if there is one.

        Raises:
            UserError: if there is no such run, if it is not finished, is of another kind, is damaged, or if its
                tokenizers do not fit.
        """
        model, fields = load_run(run, Seq2SeqVAEModel, device)
        return cls(model, fields.of_kind(TargetField).tokenizer, fields.of_kind(SourceField).tokenizer)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write model and tokenizers to ``folder``; each tokenizer and the model are there whole or not at all."""
        with silenced():
            self.fields.save_pretrained(folder)
            with replacing_files_in(folder, "config.json") as partial:
                self.model.save_pretrained(partial)

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
        """The translations of the texts, in their order; of a blank text, a blank one.

        With ``samples``, each translation has a z of its own, drawn from the prior, and is the likeliest of that z.
        With ``latent="mean"`` there is one z, and the translations are the best of the beam or, with a
        ``temperature``, draws of the words; so they are for a model without z.

        Args:
            texts: n of them in anything that `given.as_list` takes, or a single one.
            num_beams: of the beam search, 1 is greedy; None: `BEAMS`, or 1 where words are drawn.
            samples: N, how many translations of each text; None: one.
            length_penalty: hypotheses are compared by their log-probability over their length to this power.
            rescore: K: hypotheses are put in the order of the importance-weighted bound on log p(y | x) with K draws,
                over their length to the power of ``length_penalty`` as in the beam; without ``samples``, those are the
                ones in the beam, and the best is taken. None: as they were found.
            latent: where z is from; None: a draw from the prior with ``samples``, otherwise its mean.
            maximum_length: a translation ends after so many tokens at the latest, unless the options say otherwise.
            batch_size: sentences at once; None: as many as have 256 beams, or draws.
            seed: of all draws; None takes them from the global random state.
            show_progress_bar: None: only on a terminal.
            **options: of `GenerationMixin.generate`; a ``temperature``, ``top_k`` or ``top_p`` implies ``do_sample``.

        Returns:
            n strings; with ``samples``, n lists of N strings.

        Raises:
            UserError: if something is not a string, the seed is out of range, or the beam has not as many hypotheses
                as are asked for.
        """
        check_seed(seed)
        texts = as_list(texts)
        said = [text for text in texts if text.strip()]
        chosen = decoding(options, max_new_tokens=maximum_length)
        if chosen.pop("num_return_sequences", 1) != 1:
            raise UserError("expected samples for several translations of a text, got num_return_sequences")
        beams = (
            chosen.get("num_beams", 1 if chosen["do_sample"] else BEAMS) if num_beams is None else num_beams
        )
        if beams < 1 or (samples is not None and samples < 1):
            raise UserError(f"expected 1 sample and 1 beam or more, got {samples} and {beams}")
        wanted = samples or (beams if rescore else 1)
        if not self.model.config.latent_size:
            latent = "mean"
        latent = latent or ("sample" if samples else "mean")
        own_z = wanted if samples and latent == "sample" else 1
        chosen |= {"num_beams": beams}
        if beams > 1:
            chosen = {"length_penalty": length_penalty} | chosen
        shared: dict[str, Any] = {"batch_size": batch_size, "show_progress_bar": show_progress_bar}
        with evaluating(self.model):
            found = self._written(said, latent, own_z, wanted // own_z, chosen, generator_of(seed), **shared)
        if rescore:
            found = self._rescored(said, found, rescore, length_penalty, seed, **shared)
        several = iter(found)
        sets = [next(several) if text.strip() else [""] * wanted for text in texts]
        return sets if samples else [own[0] for own in sets]

    def _written(
        self,
        texts: list[str],
        latent: Latent,
        latents: int,
        together: int,
        options: dict[str, Any],
        generator: torch.Generator | None,
        batch_size: int | None,
        show_progress_bar: bool | None,
    ) -> list[list[str]]:
        """Translations of each text: this many latents, and ``together`` translations of each of them."""
        beams = options["num_beams"]
        if together > beams and not (beams == 1 and options["do_sample"]):
            raise UserError(
                f"expected num_beams of {together} or more for {together} translations of one z, got {beams}: raise "
                "it, or draw the words with a temperature"
            )
        rows = self._pairs(texts, [""] * len(texts))
        found: list[list[str]] = [[] for _ in rows]
        each = latents * together
        at_most = batch_size or at_once(latents * max(beams, together))
        for places, batch in self._batches(rows, at_most, show_progress_bar, "translating"):
            source, mask = (batch[name].repeat_interleave(latents, 0) for name in ("source", "source_mask"))
            written = self.model.translate(
                source,
                mask,
                latent=latent,
                generator=generator,
                num_return_sequences=together,
                **options,
            )
            lines = decode_rows(self.tokenizer, written.tolist())
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
        """The importance-weighted lower bound on log p(target | source) of each pair in nats, (n,), in their order.

        Its expectation rises with ``samples``; it is exact for a model without z. The draws of a pair depend on the
        seed and on the pairs beside it.

        Args:
            sources: n of them, or a single one.
            targets: as many.
            samples: K.
            seed: of the draws from the posteriors; None takes them from the global random state.
            batch_size: pairs at once; None: one with many samples, more with few.
            show_progress_bar: None: only on a terminal.

        Raises:
            UserError: if there are not as many sources as targets, fewer than one sample, or the seed is out of range.
        """
        check_seed(seed)
        if samples < 1:
            raise UserError(f"expected 1 sample or more, got {samples}")
        rows = self._pairs(as_list(sources), as_list(targets))
        scores, generator = np.zeros(len(rows)), generator_of(seed)
        with evaluating(self.model):
            for places, batch in self._batches(
                rows, batch_size, show_progress_bar, "scoring", tokens_at_once(samples)
            ):
                found = bounds(self.model, batch, samples, generator=generator)
                scores[places] = -found.iw_nll.double().cpu().numpy()
        return scores

    def attention(self, source: str, target: str) -> NDArray[np.float32]:
        """How far each token of the target attends to each of the source, (T, S); every row sums to 1.

        The tokens are those of `tokens`; z is the mean of its posterior.

        Args:
            source: a sentence.
            target: its translation.
        """
        with evaluating(self.model):
            batch = self.fields.collate(self._pairs([source], [target])).to(self.model.device)
            return self.model.attention(batch)[0].float().cpu().numpy()

    def tokens(self, source: str, target: str) -> tuple[list[str], list[str]]:
        """The tokens of both sides as they are written, with the ends of both sentences.

        Args:
            source: a sentence.
            target: its translation.
        """
        pair = self._pairs([source], [target])[0]
        return _tokens(self.source_tokenizer, pair["source_ids"]), _tokens(self.tokenizer, pair["ids"])

    def _pairs(self, sources: list[str], targets: list[str]) -> list[dict[str, Any]]:
        """The tokens of both sides, and how many they are, EOS counted."""
        if len(sources) != len(targets):
            raise UserError(f"expected a target for each of {len(sources)} sources, got {len(targets)}")
        ids = zip(_ids(self.tokenizer, targets), _ids(self.source_tokenizer, sources), strict=True)
        return [
            {"ids": target, "length": len(target) + 1, "source_ids": source, "source_length": len(source) + 1}
            for target, source in ids
        ]

    def _batches(
        self,
        rows: list[dict[str, Any]],
        batch_size: int | None,
        show_progress_bar: bool | None,
        what: str,
        tokens: int | None = None,
    ) -> Iterator[tuple[list[int], Batch]]:
        """Pairs of like length together, with the places they have in ``rows``."""
        device = self.model.device
        return batches_of(rows, self.fields, batch_size, device, show_progress_bar, what, tokens)

    def _rescored(
        self,
        sources: list[str],
        found: list[list[str]],
        samples: int,
        length_penalty: float,
        seed: int | None,
        batch_size: int | None,
        show_progress_bar: bool | None,
    ) -> list[list[str]]:
        """The translations of each source, the likeliest for its length first."""
        pairs = [(source, text) for source, own in zip(sources, found, strict=True) for text in own]
        targets = [text for _, text in pairs]
        bound = self.log_likelihood(
            [source for source, _ in pairs],
            targets,
            samples,
            seed=seed,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
        )
        lengths = np.array([len(ids) + 1 for ids in _ids(self.tokenizer, targets)])  # with EOS
        scores = iter(bound / lengths**length_penalty)
        ranked = [[(-next(scores), place, text) for place, text in enumerate(own)] for own in found]
        return [[text for *_, text in sorted(own)] for own in ranked]


def _ids(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """The tokens of each text, without BOS and EOS."""
    # Not verbose, or the tokenizer would warn of what is longer than the texts the model was trained on.
    return tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"] if texts else []


def _tokens(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[str]:
    """The tokens as they are written, with the end of the sentence."""
    return list(tokenizer.convert_ids_to_tokens([*ids, tokenizer.eos_token_id]))
