"""Variational auto-encoders of text: train, measure, sample, interpolate."""

import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textvae.errors import UserError

if TYPE_CHECKING:
    from textvae.embedding import TextVAEEmbedder
    from textvae.models.language import TextVAEConfig, TextVAEModel
    from textvae.text.corpus import load_corpus
    from textvae.text_vae import TextVAE
    from textvae.training.trainer import TextVAETrainer, TextVAETrainingArguments

__version__ = version("textvae")

__all__ = [
    "TextVAE",
    "TextVAEConfig",
    "TextVAEEmbedder",
    "TextVAEModel",
    "TextVAETrainer",
    "TextVAETrainingArguments",
    "UserError",
    "__version__",
    "load_corpus",
]

_HOMES = {
    "TextVAE": "textvae.text_vae",
    "TextVAEConfig": "textvae.models.language",
    "TextVAEEmbedder": "textvae.embedding",
    "TextVAEModel": "textvae.models.language",
    "TextVAETrainer": "textvae.training.trainer",
    "TextVAETrainingArguments": "textvae.training.trainer",
    "load_corpus": "textvae.text.corpus",
}

# After `import textvae`, AutoModel knows the model, which takes importing it. Only the command `textvae` does without:
# it imports what a command needs, and its --help should not wait seconds for torch.
if Path(sys.argv[0] if sys.argv else "").name != "textvae":
    import_module("textvae.models.language")


def __getattr__(name: str) -> Any:
    """The public names, each imported when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'textvae' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names beside what is imported."""
    return sorted({*globals(), *__all__})
