"""Variational auto-encoders of text: train, measure, sample, interpolate."""

import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textvae.support.errors import UserError

if TYPE_CHECKING:
    from textvae.interfaces.documents import DocumentVAE
    from textvae.interfaces.embedder import TextVAEEmbedder
    from textvae.interfaces.text_vae import TextVAE
    from textvae.interfaces.translator import Translator
    from textvae.models.documents import DocumentVAEConfig, DocumentVAEModel
    from textvae.models.language import TextVAEConfig, TextVAEModel
    from textvae.models.seq2seq import Seq2SeqVAEConfig, Seq2SeqVAEModel
    from textvae.text.corpus import load_corpus
    from textvae.training.trainer import TextVAETrainer, TextVAETrainingArguments

__version__ = version("textvae")

__all__ = [
    "DocumentVAE",
    "DocumentVAEConfig",
    "DocumentVAEModel",
    "Seq2SeqVAEConfig",
    "Seq2SeqVAEModel",
    "TextVAE",
    "TextVAEConfig",
    "TextVAEEmbedder",
    "TextVAEModel",
    "TextVAETrainer",
    "TextVAETrainingArguments",
    "Translator",
    "UserError",
    "__version__",
    "load_corpus",
]

_HOMES = {
    "DocumentVAE": "textvae.interfaces.documents",
    "DocumentVAEConfig": "textvae.models.documents",
    "DocumentVAEModel": "textvae.models.documents",
    "Seq2SeqVAEConfig": "textvae.models.seq2seq",
    "Seq2SeqVAEModel": "textvae.models.seq2seq",
    "TextVAE": "textvae.interfaces.text_vae",
    "TextVAEConfig": "textvae.models.language",
    "TextVAEEmbedder": "textvae.interfaces.embedder",
    "TextVAEModel": "textvae.models.language",
    "TextVAETrainer": "textvae.training.trainer",
    "TextVAETrainingArguments": "textvae.training.trainer",
    "Translator": "textvae.interfaces.translator",
    "load_corpus": "textvae.text.corpus",
}

# After `import textvae`, AutoModel knows the models, which takes importing them. Only the command `textvae` does
# without: it imports what a command needs, and its --help should not wait seconds for torch.
if Path(sys.argv[0] if sys.argv else "").name != "textvae":
    import_module("textvae.models.documents")
    import_module("textvae.models.language")
    import_module("textvae.models.seq2seq")


def __getattr__(name: str) -> Any:
    """The public names, each imported when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'textvae' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names beside what is imported."""
    return sorted({*globals(), *__all__})
