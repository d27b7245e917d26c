"""The table of the kinds of models."""

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
"""The models by their name in a recipe (``model.kind``). The first is the default."""


def kind_of_type(model_type: str | None) -> type[VAEModel] | None:
    """The class of the models with this ``model_type`` in config.json; None if it is not a textvae model."""
    types = {getattr(kind.config_class, "model_type", ""): kind for kind in KINDS.values()}
    return types.get(model_type or "")
