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
"""What people use a model of each kind by, by the names of `KINDS`."""


def load_encoder(run: str | Path) -> SentenceEncoder:
    """The interface of a run whose model encodes texts, whatever its kind.

    Args:
        run: a run folder, one of its checkpoints, or a model on the Hub.

    Raises:
        UserError: if the model encodes no texts, or as `Interface.from_pretrained` says.
    """
    kind = kind_of(name_of(run))
    found = next((each for each in INTERFACES.values() if each.kind is kind), TextVAE)
    # That of another kind says in its error what to use in its place.
    encoder = found if issubclass(found, SentenceEncoder) else TextVAE
    return encoder.from_pretrained(run)
