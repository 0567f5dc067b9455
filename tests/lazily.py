"""Modules, and what they hold, that are imported when they are first used: TensorFlow takes five seconds, which
collecting the tests need not wait for."""

from __future__ import annotations

import importlib
from typing import Any


class Lazy:
    """Stands in for a module, or for a function or a class in it."""

    def __init__(self, module: str, name: str = "") -> None:
        self._place = module, name

    def _itself(self) -> Any:
        module = importlib.import_module(self._place[0])
        return getattr(module, self._place[1]) if self._place[1] else module

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_mock_name":  # pytest asks everything for these, looking for tests
            raise AttributeError(name)
        return getattr(self._itself(), name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._itself()(*arguments, **options)


def lazily(module: str, *names: str) -> Any:
    """``import module``, or ``from module import names``, put off; several names are a list."""
    if not names:
        return Lazy(module)
    found = [Lazy(module, name) for name in names]
    return found[0] if len(found) == 1 else found
