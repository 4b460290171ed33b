"""Where a finding is: the line, and the calls that lead to it from the kernel's own."""

from __future__ import annotations

import inspect
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
import nkipy_nki.neuronxcc.nki as first_nki
from nkipy_nki.wire import decode, encode

X = np.ones((8, 8), np.float32)


def stored(tile: Any) -> Any:
    result = nl.ndarray(tile.shape, tile.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(result, tile)  # stored
    return result


def rows(x: Any, i: Any) -> None:
    tile = nl.ndarray((1, 8), x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(tile, x[nl.ds(i, 1), :])  # rows


def turned(tile: Any) -> Any:
    return tile.permute((1, 0))  # turned


def empty(x: Any) -> Any:
    return nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)  # empty


def never_written(x: Any) -> Any:
    def within() -> Any:
        tile = nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf)
        return stored(tile)  # never written: stored

    return within()  # never written


def refused(x: Any) -> Any:
    return stored(turned(nl.load(x)))  # refused


def in_a_loop(x: Any) -> Any:
    nl.fori_loop(0, 9, lambda i: rows(x, i))  # in a loop # in a loop
    return x


def returned(x: Any) -> Any:
    return empty(x)  # returned


def direct(x: Any) -> Any:
    return nl.load(x).permute((1, 0))  # direct


def _line(comment: str) -> int:
    lines = inspect.getsource(inspect.getmodule(_line)).splitlines()  # type: ignore
    (found,) = (n for n, line in enumerate(lines, 1) if line.endswith(f"  # {comment}"))
    return found


KERNELS = [
    (never_written, ["stored", "never written: stored", "never written"]),
    (refused, ["turned", "refused"]),
    (in_a_loop, ["rows", "in a loop # in a loop", "in a loop # in a loop"]),
    (returned, ["empty", "returned"]),
    (direct, ["direct"]),
]


@pytest.mark.parametrize("kernel, places", KERNELS)
def test_a_finding_has_the_calls_from_the_kernel_on(
    kernel: Callable[..., Any], places: list[str]
) -> None:
    with pytest.raises(nki.NkiValidationError) as raised:
        nki.simulate(kernel)(X)
    at, *calls = [_line(place) for place in places]
    told = raised.value.finding.as_json()
    assert told["line"] == at and [c["line"] for c in told["calls"]] == calls
    assert json.loads(json.dumps(told)) == told
    if calls:
        assert told["calls"][-1]["function"] == kernel.__name__
    text = str(raised.value)
    assert f"\n  at {__file__}:{at}" in text
    assert [line.split(" in ")[0] for line in text.splitlines()[2:]] == [
        f"  called at {__file__}:{call}" for call in calls
    ]


def test_the_first_generation_tells_them_too() -> None:
    with pytest.raises(nki.NkiValidationError) as raised:
        first_nki.simulate_kernel(lambda x: refused(x), X)
    calls = raised.value.finding.calls
    assert [c["function"] for c in calls][-1] == "<lambda>"


def test_a_program_keeps_them() -> None:
    def kernel(x: Any) -> Any:
        return stored(x)

    program = encode(nki.simulate(kernel).run(X).programs)
    assert encode(decode(program)) == program
    (read,) = decode(program)[0].instructions()
    assert [line.function for line in read.line.calls] == ["kernel"]


def test_one_line_is_told_with_each_line_that_leads_to_it() -> None:
    def kernel(x: Any) -> Any:
        for _ in range(2):
            made = stored(x)  # one of two
            made = stored(made)  # the other of two
        return made

    (program,) = nki.simulate(kernel).run(X).programs
    lines = [i.line for i in program.instructions()]
    assert {line.number for line in lines} == {_line("stored")}
    places = [_line("one of two"), _line("the other of two")] * 2
    assert [[call.number for call in line.calls] for line in lines] == [
        [place] for place in places
    ]


def test_of_many_the_innermost_and_the_kernels_own_are_kept() -> None:
    def deep(x: Any, depth: int) -> Any:
        return deep(x, depth - 1) if depth else stored(x)

    def kernel(x: Any) -> Any:
        return deep(x, 120)

    programs = nki.simulate(kernel).run(X).programs
    line = next(programs[0].instructions()).line
    assert [at.function for at in line.calls] == ["deep"] * 49 + ["kernel"]
    assert pickle.loads(pickle.dumps(line)).calls == line.calls
    assert decode(encode(programs))[0].body[0].line.calls == line.calls
