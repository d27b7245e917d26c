"""Variational auto-encoders of text: train, measure, sample, interpolate."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from textvae.support.auto_models import register_on_use
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
    from textvae.training.arguments import TextVAETrainingArguments
    from textvae.training.trainer import TextVAETrainer

    __version__: str

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
    "TextVAETrainingArguments": "textvae.training.arguments",
    "Translator": "textvae.interfaces.translator",
    "load_corpus": "textvae.text.corpus",
}

# Nothing heavy is imported before it is needed: `import textvae` and `textvae --help` should not wait for torch.
register_on_use("textvae.models.kinds")


def __getattr__(name: str) -> Any:
    """The public name, imported when it is first used, or the version, which takes time to find."""
    if name == "__version__":
        return import_module("importlib.metadata").version("textvae")
    if name not in _HOMES:
        raise AttributeError(f"module 'textvae' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names, and those that are already imported."""
    return sorted({*globals(), *__all__})
