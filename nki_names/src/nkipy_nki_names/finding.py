"""Whose the names are, and the modules that stand under them."""

from __future__ import annotations

import os
import sys
from _thread import get_ident
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any

from nkipy_nki_names import FINDER, STANDS_FOR

VARIABLE = "NKIPY_NKI_NAMES"
_OFF, _ON = ("0", "false", "no", "off"), ("", "1", "true", "yes", "on")

#: A folder without ``__init__`` is the vendor's if it has one of these.
_PARTS = {"nki": ("isa", "language"), "neuronxcc": ("driver", "nki", "starfish")}
#: Threads that are asking other finders, which may ask us in turn.
_asking: set[int] = set()


def spec_of(name: str) -> ModuleSpec | None:
    """The spec of a module under one of the names, or below; None if it is not ours.

    Raises:
        ImportError: the variable that switches the names off has another value.
    """
    top, dot, below = name.partition(".")
    ours = STANDS_FOR[top] + dot + below
    if dot:
        is_ours = is_own(sys.modules.get(top), top)
    else:
        is_ours = get_ident() not in _asking and are_ours()
    found = own_spec(ours) if is_ours else None
    return _under(name, ours, found) if found is not None else None


# -- whose they are --------------------------------------------------------------------
def are_ours() -> bool:
    """Whether the names are ours: none is another's, and they are not switched off."""
    if is_switched_off() or any(others_loaded()):
        return False
    if not any(map(sys.modules.get, STANDS_FOR)) and any(map(found_elsewhere, _PARTS)):
        return False
    check_variable()
    return True


def is_switched_off() -> bool:
    """Whether the environment says that the names are not wanted."""
    return _value() in _OFF


def check_variable() -> None:
    if _value() not in _ON:
        raise ImportError(
            f"{VARIABLE} is {_value()!r}, and must be one of {', '.join(_ON[1:])} for "
            f"`import nki` to reach nkipy-nki, or one of {', '.join(_OFF)}",
            name="nki",
        )


def _value() -> str:
    return os.environ.get(VARIABLE, "").strip().lower()


def is_own(module: ModuleType | None, top: str) -> bool:
    """Whether a module is the one that stands for the name `top`."""
    return getattr(module, "__name__", None) == STANDS_FOR[top]


def others_loaded() -> Iterator[str]:
    """The names under which another's module was imported, or that were blocked."""
    for top in STANDS_FOR:
        if top in sys.modules and not is_own(sys.modules[top], top):
            yield top


def found_elsewhere(top: str) -> ModuleSpec | None:
    """What other finders have under a name; a mere folder of that name is nothing."""
    _asking.add(get_ident())
    try:
        return next((s for s in _specs(top) if _is_package(s, top)), None)
    finally:
        _asking.discard(get_ident())


def folders(top: str) -> list[str]:
    """The folders of a name, without ``__init__``, that Python would take for it."""
    specs = filter(is_folder, _specs(top))
    return [p for s in specs for p in s.submodule_search_locations or ()]


def _specs(name: str, path: list[str] | None = None) -> Iterator[ModuleSpec]:
    """What each other finder has; editable packages' come after ``sys.path``."""
    for finder in list(sys.meta_path):
        find = getattr(finder, "find_spec", None)
        spec = _asked(find, name, path) if find and finder is not FINDER else None
        if spec is not None:
            yield spec


def _asked(
    find: Callable[..., ModuleSpec | None], name: str, path: list[str] | None
) -> ModuleSpec | None:
    """What a finder has; None of a folder below a package that is not imported.

    A namespace package follows the path of the one above it, which its finder looks up
    among the imported modules.
    """
    try:
        return find(name, path)
    except KeyError as error:
        above = name.rpartition(".")[0]
        if error.args != (above,) or above in sys.modules:
            raise
        return None


def _is_package(spec: ModuleSpec, top: str) -> bool:
    if not is_folder(spec):
        return True
    places = list(spec.submodule_search_locations or ())
    inner = (s for part in _PARTS[top] for s in _specs(f"{top}.{part}", places))
    return not all(map(is_folder, inner))


def is_folder(spec: ModuleSpec) -> bool:
    """Whether a spec is that of a namespace package, which any folder makes."""
    loader = spec.loader
    return loader is None or type(loader).__name__.endswith("NamespaceLoader")


# -- the modules -----------------------------------------------------------------------
def own_spec(own: str) -> ModuleSpec | None:
    """The spec of a module of ours by its own name, without importing anything."""
    if module := sys.modules.get(own):
        return _spec_of_loaded(module)
    parent = own.rpartition(".")[0]
    if not parent:
        return next(_specs(own), None)
    around = own_spec(parent)
    places = around.submodule_search_locations if around is not None else None
    return next(_specs(own, list(places)), None) if places else None


def _spec_of_loaded(module: ModuleType) -> ModuleSpec | None:
    """Its own spec, even while a thread is putting it under another name."""
    spec = module.__spec__
    if spec is not None and isinstance(spec.loader, OwnLoader):
        return spec.loader.own_spec
    return spec


class OwnLoader:
    """Puts a module of ours under another name: the same object, as it was.

    Args:
        own: the name that it has.
    """

    def __init__(self, own: str) -> None:
        self.own = own
        self.own_spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module itself, so that no thread ever sees another under the name."""
        module = import_module(self.own)
        self.own_spec = _spec_of_loaded(module)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give back the spec, in whose place the import has put that of the name."""
        module.__spec__ = self.own_spec

    def get_code(self, name: str) -> CodeType | None:
        """The code, for ``python -m``."""
        spec = own_spec(self.own)
        get_code = getattr(spec and spec.loader, "get_code", None)
        return get_code(self.own) if get_code else None


def _under(name: str, own: str, found: ModuleSpec) -> ModuleSpec:
    is_package = found.submodule_search_locations is not None
    loader: Any = OwnLoader(own)
    spec = ModuleSpec(name, loader, origin=found.origin, is_package=is_package)
    spec.submodule_search_locations = found.submodule_search_locations
    return spec
