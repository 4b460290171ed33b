"""The names in code are those that Python's own disassembler finds."""

from __future__ import annotations

import argparse
import dis
import inspect
import textwrap
import types

import pytest

from nkipy.runtime.code_names import mentioned_by

_LOOKUPS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_WRITES = ("STORE_GLOBAL", "DELETE_GLOBAL")


def disassembled(code: types.CodeType, opcodes: tuple[str, ...]) -> set[str]:
    found = {i.argval for i in dis.get_instructions(code) if i.opname in opcodes}
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return found.union(*(disassembled(c, opcodes) for c in inner))


@pytest.mark.parametrize("module", [argparse, inspect, textwrap])
def test_globals_and_imports_of_whole_modules(module):
    code = compile(inspect.getsource(module), module.__name__, "exec")
    found = mentioned_by(code)
    assert found.globals == disassembled(code, (*_LOOKUPS, *_WRITES))
    assert found.modules == disassembled(code, ("IMPORT_NAME",))
    assert found.globals < found.attributes
    assert found.stored == disassembled(code, ("STORE_ATTR",))
    reads = ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM")
    assert found.read == disassembled(code, reads)


def test_names_beyond_the_255th():
    source = "\n".join(f"n{i}.a{i}" for i in range(70000))
    found = mentioned_by(compile(source, "long", "exec"))
    assert found.globals == {f"n{i}" for i in range(70000)}


def test_what_is_no_name_of_a_global():
    def code_of(source):
        return mentioned_by(compile(source, "short", "exec"))

    assert code_of("x.T").globals == {"x"}
    assert code_of("def f(a):\n return a.T + b").globals == {"b"}
    assert code_of("class C:\n def f(self): return g.T").globals >= {"g"}
    assert code_of("f(x, k='one', l='no name')").texts == {"one", "k", "l"}
    assert code_of("match x:\n case C(k=1): pass").matches
    assert not code_of("match x:\n case 1: pass").matches
