"""Registers our models with `transformers.AutoModel` and `AutoConfig` without importing them at once."""

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
"""The module of `AutoConfig`, which every automatic class uses to find the kind of a model."""


def register_on_use(models: str) -> None:
    """Import the module ``models``, which registers its classes, when `AutoConfig` first reads a configuration.

    If they were registered at once, `import textvae` would import torch. If they were registered when `AutoConfig` is
    imported, they would import modules of `transformers` that are not yet complete.

    Args:
        models: name of the module.
    """
    if CONFIGURATIONS in sys.modules:
        _import_on_use(sys.modules[CONFIGURATIONS].AutoConfig, models)
    else:
        sys.meta_path.insert(0, _Finder(models))


def _import_on_use(auto: Any, models: str) -> None:
    """Make the first call of ``auto.from_pretrained`` import ``models`` first."""
    original = vars(auto)["from_pretrained"]

    @functools.wraps(original.__func__)
    def from_pretrained(cls: Any, *args: Any, **kwargs: Any) -> Any:
        auto.from_pretrained = original
        import_module(models)
        return cls.from_pretrained(*args, **kwargs)

    auto.from_pretrained = classmethod(from_pretrained)


class _Finder:
    """An entry of ``sys.meta_path`` that acts once: when `CONFIGURATIONS` is imported, it prepares its `AutoConfig`."""

    def __init__(self, models: str) -> None:
        self.models = models

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification of `CONFIGURATIONS`, whose loader prepares `AutoConfig`; None for any other module."""
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
