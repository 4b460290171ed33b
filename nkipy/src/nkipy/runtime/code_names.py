"""What code mentions: globals, attributes and modules that it could reach by name."""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple

_EXTENDED = dis.opmap["EXTENDED_ARG"]
_IMPORT = dis.opmap["IMPORT_NAME"]
_LOAD_GLOBAL = dis.opmap["LOAD_GLOBAL"]
_MATCH = dis.opmap["MATCH_CLASS"]
#: Instructions that look a name up among the globals, or put it there.
_OF_GLOBALS = {
    dis.opmap[name]
    for name in (
        *("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"),
        *("STORE_GLOBAL", "DELETE_GLOBAL"),
    )
    if name in dis.opmap
}
_LOAD_ATTR = dis.opmap["LOAD_ATTR"]
#: Instructions that read an attribute.
_READ_ATTRIBUTE = {
    dis.opmap[name]
    for name in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM")
    if name in dis.opmap
}
_STORE_ATTRIBUTE = dis.opmap["STORE_ATTR"]
#: The lowest bits of these instructions' arguments are flags; how many.
_FLAGS: dict[int, int] = {}
if sys.version_info >= (3, 11):
    _FLAGS[_LOAD_GLOBAL] = 1
if sys.version_info >= (3, 12):
    _FLAGS |= {_LOAD_ATTR: 1, dis.opmap["LOAD_SUPER_ATTR"]: 2}
_NAMED = _OF_GLOBALS | _READ_ATTRIBUTE | {_IMPORT, _STORE_ATTRIBUTE}


class Mentioned(NamedTuple):
    """What some code, and the functions and classes within it, mentions.

    Attributes:
        globals: names that are looked up among the globals.
        attributes: names of attributes; globals, too.
        texts: constants that could be a name, as in ``getattr(x, "scale")``.
        read, stored: names of attributes that it reads, and that it sets.
        modules: what it imports when it runs.
        matches: whether it takes objects apart by ``match``.
    """

    globals: frozenset[str]
    attributes: frozenset[str]
    texts: frozenset[str]
    read: frozenset[str]
    stored: frozenset[str]
    modules: frozenset[str]
    matches: bool


@lru_cache(maxsize=4096)
def mentioned_by(code: CodeType) -> Mentioned:
    """What `code` mentions. Local variables are not mentioned."""
    used = list(_names_used(code))
    found = Mentioned(
        frozenset(name for op, name in used if op in _OF_GLOBALS),
        frozenset(code.co_names),
        frozenset(_texts(code.co_consts)),
        frozenset(name for op, name in used if op in _READ_ATTRIBUTE),
        frozenset(name for op, name in used if op == _STORE_ATTRIBUTE),
        frozenset(name for op, name in used if op == _IMPORT),
        _MATCH in code.co_code[::2],
    )
    for const in code.co_consts:
        if isinstance(const, CodeType):
            found = _both(found, mentioned_by(const))
    return found


def _both(a: Mentioned, b: Mentioned) -> Mentioned:
    pairs: Any = zip(a, b)
    return Mentioned(*(x | y for x, y in pairs))


def _names_used(code: CodeType) -> Iterator[tuple[int, str]]:
    """(opcode, name) of each instruction that uses a global, attribute or module."""
    # Much faster than dis.get_instructions, as a first call goes through all its code.
    raw, names, high = code.co_code, code.co_names, 0
    for op, low in zip(raw[::2], raw[1::2]):
        arg = high | low
        high = arg << 8 if op == _EXTENDED else 0
        if op in _NAMED:
            yield op, names[arg >> _FLAGS.get(op, 0)]


def _texts(consts: tuple[object, ...]) -> Iterator[str]:
    for const in consts:
        if isinstance(const, str):
            if const.isidentifier():
                yield const
        elif isinstance(const, tuple):
            yield from _texts(const)
