"""`transformers.AutoModel` and `AutoConfig` know our models, although importing this package does not import them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

CONFIGURATIONS = "transformers.models.auto.configuration_auto"
"""The module of `AutoConfig`, which every automatic class asks for the kind of a model."""


def register_on_use(models: str) -> None:
    """Import the module ``models``, which registers its classes, when `AutoConfig` first reads a configuration.

    Registering them at once would import torch. Registering them when `AutoConfig` is imported would import them while
    `transformers`' own modules, on which they stand, are half done.

    Args:
        models: name of a module.
    """
    if CONFIGURATIONS in sys.modules:
        _import_on_use(sys.modules[CONFIGURATIONS].AutoConfig, models)
    else:
        sys.meta_path.insert(0, _Finder(models))


def _import_on_use(auto: Any, models: str) -> None:
    """Let the first call of ``auto.from_pretrained`` import ``models`` before it does what it does."""
    original = vars(auto)["from_pretrained"]

    @functools.wraps(original.__func__)
    def from_pretrained(cls: Any, *args: Any, **kwargs: Any) -> Any:
        auto.from_pretrained = original
        import_module(models)
        return cls.from_pretrained(*args, **kwargs)

    auto.from_pretrained = classmethod(from_pretrained)


class _Finder:
    """What ``sys.meta_path`` holds: it finds `CONFIGURATIONS` as Python would and prepares its `AutoConfig`, once."""

    def __init__(self, models: str) -> None:
        self.models = models

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification of the module, whose loader goes on with `AutoConfig`; None of any other module."""
        if fullname != CONFIGURATIONS:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _import_on_use(module.AutoConfig, self.models)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
