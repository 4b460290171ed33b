"""Each name that the documentation lists is there, with the parameters it lists."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import pytest

import nkipy_nki as nki
import nkipy_nki.language as nl
from nkipy_nki.dtypes import DTYPES
from nkipy_nki.ordering import NkiInstruction
from tests.support.nki.documented import DOCUMENTED


def _listed() -> Iterator[tuple[str, str, str | None]]:
    """Module, name, and the text of its parameters, if it has one."""
    for module, text in DOCUMENTED.items():
        lines = re.sub(r",\s*\n\s*", ", ", text).splitlines()
        for line in filter(None, map(str.strip, lines)):
            names, bracket, parameters = line.partition("(")
            for name in names.replace("|", " ").split():
                yield module, name, parameters.rstrip(")") if bracket else None


LISTED = list(_listed())


def _found(module: str, name: str) -> Any:
    where = importlib.import_module(".".join(filter(None, ["nkipy_nki", module])))
    return attrgetter(name)(where)


def test_many_are_listed() -> None:
    assert len(LISTED) == len({(module, name) for module, name, _ in LISTED}) > 320


@pytest.mark.parametrize("module", DOCUMENTED)
def test_each_documented_name_is_there(module: str) -> None:
    for where, name, _ in LISTED:
        if where == module:
            _found(module, name)


@pytest.mark.parametrize(
    "module, name, parameters",
    [row for row in LISTED if row[2] is not None],
    ids=[f"{m}.{n}".lstrip(".") for m, n, p in LISTED if p is not None],
)
def test_a_function_takes_the_documented_parameters(
    module: str, name: str, parameters: str
) -> None:
    mine = [
        p
        for p in inspect.signature(_found(module, name)).parameters.values()
        if p.kind is not p.VAR_KEYWORD
    ]
    parts = list(filter(None, (part.strip() for part in parameters.split(","))))
    by_name = len(parts) if "*" not in parts else parts.index("*")
    listed = [part for part in parts if part != "*"]
    assert [p.name for p in mine][: len(listed)] == [p.rstrip("=") for p in listed]
    for place, (parameter, part) in enumerate(zip(mine, listed)):
        assert (parameter.default is not parameter.empty) == part.endswith("="), part
        assert (parameter.kind is parameter.KEYWORD_ONLY) == (place >= by_name), part
    for parameter in mine[len(listed) :]:
        assert parameter.default is not parameter.empty, parameter


def test_names_that_are_public_are_listed_or_ours() -> None:
    """What the language's modules give out beside what is documented."""
    ours = {
        "isa": set(),
        "language": {"DTYPES", "bool", "range"},  # see language/__init__.py
        "collectives": set(),
    }
    for module, more in ours.items():
        listed = {name.split(".")[0] for where, name, _ in LISTED if where == module}
        found = importlib.import_module(f"nkipy_nki.{module}").__all__
        assert set(found) - listed - {"constants"} == more, module


def test_undocumented_modules_have_the_same_objects() -> None:
    from nkipy_nki import dtype, isa
    from nkipy_nki.isa import constants

    assert {name: getattr(dtype, name) for name in DTYPES} == dict(DTYPES)
    assert set(dtype.__all__) == set(DTYPES)
    for name in constants.__all__:
        assert getattr(constants, name) is getattr(isa, name)
    assert nki.dtype is dtype and nki.isa.constants is constants
    assert nki.dtype.float32 is nl.float32


@pytest.mark.parametrize("keyword", ["fn", "func"])
def test_jit_takes_the_function_by_its_names(keyword: str) -> None:
    def kernel(x: Any) -> None: ...

    config = nki.compiler.CompileConfig(dead_code_elim=False)
    made = nki.jit(**{keyword: kernel}, compile_config=config)
    assert made.func is kernel and made.options["compile_config"] is config
    assert nki.jit(compile_config=config)(kernel).func is kernel


def test_instructions_are_what_functions_of_nisa_return() -> None:
    kept: list[Any] = []

    def kernel(x: Any) -> None:
        tile = nl.ndarray((128, 8), nl.float32, buffer=nl.sbuf)
        kept.append(nki.isa.memset(tile, 1.0, name="set"))
        kept.append(nki.isa.register_move(nki.isa.register_alloc(), 3))

    nki.simulate(kernel)(1)
    for made in kept:
        assert isinstance(made, NkiInstruction) and made.number >= 0
    assert kept[0].name == "set" and "memset 'set' at " in repr(kept[0])
