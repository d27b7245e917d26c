"""The kinds of model."""

from __future__ import annotations

from textvae.models.base import VAEModel
from textvae.models.documents import DocumentVAEModel
from textvae.models.language import TextVAEModel
from textvae.models.seq2seq import Seq2SeqVAEModel

KINDS: dict[str, type[VAEModel]] = {
    "language": TextVAEModel,
    "seq2seq": Seq2SeqVAEModel,
    "documents": DocumentVAEModel,
}
"""Models by the name that a recipe's ``model.kind`` has for them; the first is the default."""


def kind_of_type(model_type: str | None) -> type[VAEModel] | None:
    """The model whose configuration files say ``model_type``; None if it is not one of ours."""
    types = {getattr(kind.config_class, "model_type", ""): kind for kind in KINDS.values()}
    return types.get(model_type or "")
