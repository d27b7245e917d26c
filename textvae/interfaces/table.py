"""The interface of each kind of model."""

from __future__ import annotations

from pathlib import Path

from textvae.interfaces.documents import DocumentVAE
from textvae.interfaces.interface import Interface
from textvae.interfaces.sentence_encoder import SentenceEncoder
from textvae.interfaces.text_vae import TextVAE
from textvae.interfaces.translator import Translator
from textvae.models.checkpoint import kind_of, name_of

INTERFACES: dict[str, type[Interface]] = {
    "language": TextVAE,
    "seq2seq": Translator,
    "documents": DocumentVAE,
}
"""The interface of each kind of model, by its name in `KINDS`."""


def load_encoder(run: str | Path) -> SentenceEncoder:
    """Load a run whose model encodes texts, whatever its kind.

    Args:
        run: a run folder, one of its checkpoints, or a model on the Hub.

    Raises:
        UserError: if the model encodes no texts, or as in `Interface.from_pretrained`.
    """
    kind = kind_of(name_of(run))
    found = next((each for each in INTERFACES.values() if each.kind is kind), TextVAE)
    # For a model that encodes no texts, TextVAE raises an error that says what to use instead.
    encoder = found if issubclass(found, SentenceEncoder) else TextVAE
    return encoder.from_pretrained(run)
