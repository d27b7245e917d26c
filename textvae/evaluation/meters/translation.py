"""BLEU of translations for three choices of z."""

from __future__ import annotations

from typing import Any, Self

from tqdm import tqdm

from textvae.evaluation.bleu import bleu, bleu_metric
from textvae.evaluation.quantities import Description, Meter, Setting
from textvae.support.options import Positive, Size, validated
from textvae.support.processes import hidden_bar, shared
from textvae.text.fields import SourceField, TargetField
from textvae.text.tokenizer import decode_rows

LONGEST = 100
"""The most tokens of a translation."""


@validated
class Translation(Meter):
    """BLEU with the prior mean as z, with z = 0, and with the z of another sentence.

    If the three are equal, the decoder ignores z. A model without z has one BLEU.

    Args:
        num_beams: beams of the search; 1 is greedy.
        length_penalty: hypotheses are ranked by log-probability divided by their length to this power.
        tokenize: sacreBLEU's tokenizer: "13a" for European languages, "none" for text already split by blanks, ...

    Raises:
        UserError: if sacreBLEU has no such ``tokenize``.
    """

    describes = (
        Description("bleu", decimals=1, greater_is_better=True),
        Description("bleu_zero_z", decimals=1, label="… z = 0"),
        Description("bleu_shuffled_z", decimals=1, label="… shuffled z"),
        Description("bleu_signature", shown=False),
    )
    needs = (SourceField, TargetField)

    def __init__(self, num_beams: Size = 10, length_penalty: Positive = 1.0, tokenize: str = "13a") -> None:
        bleu_metric(tokenize)  # raises a mistake before any work
        self.num_beams, self.length_penalty, self.tokenize = num_beams, length_penalty, tokenize
        self.setting: Setting | None = None

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """For models that translate, if the rows are known and the recipe asks for it."""
        asked = "translation" in setting.options and setting.rows is not None and setting.fields
        if not asked or not hasattr(setting.model, "translate"):
            return None
        meter = cls(**setting.options["translation"])
        meter.setting = setting
        return meter

    def results(self) -> dict[str, tuple[Any, str]]:
        """Translate the split with each z, and compare with the targets."""
        assert self.setting is not None
        assert self.setting.rows is not None
        pairs = list(self.setting.rows.select_columns(["source", "target"]))
        # Sorted by length, because each part becomes one batch in one process.
        pairs.sort(key=lambda pair: len(pair["source"]))
        sources, references = ([pair[side] for pair in pairs] for side in ("source", "target"))
        latents = {"bleu": ("mean", "z = its prior mean")}
        if self.setting.model.has_latent:
            latents |= {
                "bleu_zero_z": ("zero", "z = 0"),
                "bleu_shuffled_z": ("shuffled", "z of another sentence"),
            }
        found: dict[str, tuple[Any, str]] = {}
        for name, (latent, how) in latents.items():
            score = bleu(self._translations(sources, latent), references, self.tokenize)
            said = how if self.setting.model.has_latent else "no latent"
            found[name] = (score.score, f"{said}; {self.num_beams} beams; {score.signature}")
            found["bleu_signature"] = (score.signature, "")
        return found

    def _translations(self, sources: list[str], latent: str) -> list[str]:
        """One translation for each source, in order."""
        assert self.setting is not None
        size = self.setting.batch_size
        parts = [sources[start : start + size] for start in range(0, len(sources), size)]
        done: list[str] = []
        hidden = hidden_bar(self.setting.show_progress_bar)
        with tqdm(total=len(sources), desc="translating", unit=" sentences", disable=hidden) as bar:
            for texts in shared(parts, lambda part: self._translate(part, latent)):
                done += texts
                bar.update(len(texts))
        return done

    def _translate(self, sources: list[str], latent: str) -> list[str]:
        """The translations of one batch."""
        assert self.setting is not None
        assert self.setting.fields is not None
        model: Any = self.setting.model
        source, target = (self.setting.fields.of_kind(kind) for kind in (SourceField, TargetField))
        # verbose=False silences the warning about texts longer than those of training.
        ids = source.tokenizer(sources, add_special_tokens=False, verbose=False)["input_ids"]
        tensors = source.collate([{"source_ids": sentence} for sentence in ids])
        given = {name: tensor.to(model.device) for name, tensor in tensors.items()}
        penalty = {"length_penalty": self.length_penalty} if self.num_beams > 1 else {}
        written = model.translate(
            **given,
            latent=latent,
            num_beams=self.num_beams,
            max_new_tokens=LONGEST,
            do_sample=False,
            **penalty,
        )
        return decode_rows(target.tokenizer, written.tolist())
