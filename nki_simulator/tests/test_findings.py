"""One broken kernel for each finding, which is caught by its name and line; and mended.

The line that is found ends in a comment, ``# found``.
"""

from __future__ import annotations

import ast
import inspect
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
import nkipy_nki.neuronxcc.nki as first_nki
import nkipy_nki.neuronxcc.nki.isa as first_nisa
import nkipy_nki.neuronxcc.nki.language as first_nl
from nkipy_nki import limits
from nkipy_nki.findings import DETAILS, FINDINGS, JSON_VERSION, NkiWarning

X = np.arange(128 * 64, dtype=np.float32).reshape(128, 64)


def _result(x: Any) -> Any:
    return nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)


def uninitialized_read(x: Any, broken: bool) -> Any:
    result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile[:64] if broken else tile, x[:64] if broken else x)
    nisa.dma_copy(result, tile)  # found
    return result


def output_not_written(x: Any, broken: bool) -> Any:
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)  # found
    rows = 100 if broken else 128
    nisa.dma_copy(result[:rows], x[:rows])
    return result


def out_of_bounds(x: Any, broken: bool) -> Any:
    result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    part = tile[:, 33:65] if broken else tile[:, 32:64]  # found
    nisa.dma_copy(result[:, 0:32], part)
    nisa.dma_copy(result[:, 32:64], tile[:, 0:32])
    return result


def wrong_operand(x: Any, broken: bool) -> Any:
    result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    nisa.tensor_tensor(tile, x if broken else tile, tile, op=nl.add)  # found
    nisa.dma_copy(result, tile)
    return result


def generation(x: Any, broken: bool) -> Any:
    result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    if broken:
        nisa.exponential(tile, tile)  # found
    else:
        nisa.activation(tile, op=nl.exp, data=tile)
    nisa.dma_copy(result, tile)
    return result


def capacity(x: Any, broken: bool) -> Any:
    result = _result(x)
    tiles = [nl.ndarray((128, 1 << 14), nl.float32) for _ in range(4 if broken else 3)]
    for tile in tiles:
        nisa.memset(tile, 0.0)  # found
    for tile in tiles:
        nisa.dma_copy(result, tile[:, :64])
    return result


def address_overlap(x: Any, broken: bool) -> Any:
    result = _result(x)
    one = nl.ndarray(x.shape, x.dtype, address=(0, 0))
    two = nl.ndarray(x.shape, x.dtype, address=(0, 128 if broken else 256))
    nisa.dma_copy(one, x)
    nisa.dma_copy(two, x)
    nisa.tensor_tensor(two, one, two, op=nl.add)  # found
    nisa.dma_copy(result, two)
    return result


def core_race(x: Any, broken: bool) -> Any:
    result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    half = slice(0, 64) if broken else nl.ds(64 * nl.program_id(0), 64)
    nisa.dma_copy(result[half], tile[half])  # found
    if broken:
        nisa.dma_copy(result[64:], tile[64:])
    return result


def _product(x: Any, prepare: Callable[[Any], Any], accumulate: bool | None) -> Any:
    result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
    left = nl.ndarray((128, 128), x.dtype)
    nisa.dma_copy(tile, x)
    nisa.memset(left, 1.0)
    total = nl.ndarray(x.shape, nl.float32, buffer=nl.psum)
    prepare(total)
    nisa.nc_matmul(total, left, tile, accumulate=accumulate)  # found
    out = nl.ndarray(x.shape, x.dtype)
    nisa.tensor_copy(out, total)
    nisa.dma_copy(result, out)
    return result


def psum_never_written(x: Any, broken: bool) -> Any:
    return _product(x, lambda total: None, True if broken else None)


def psum_value_initialized(x: Any, broken: bool) -> Any:
    def prepare(total: Any) -> None:
        if broken:
            nisa.memset(total, 0.0)

    return _product(x, prepare, None)


def reduce_register(x: Any, broken: bool) -> Any:
    result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
    total = nl.ndarray((128, 1), nl.float32)
    nisa.dma_copy(tile, x)
    command = nisa.reduce_cmd.reduce if broken else nisa.reduce_cmd.reset_reduce
    nisa.activation(  # found
        tile, nl.copy, tile, reduce_op=nl.add, reduce_res=total, reduce_cmd=command
    )
    nisa.dma_copy(result, tile)
    return result


def would_not_compile(x: Any, broken: bool) -> Any:
    result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    nisa.tensor_tensor(tile, tile, tile, op=nl.divide if broken else nl.add)  # found
    nisa.dma_copy(result, tile)
    return result


def scattered_twice(x: Any, broken: bool) -> Any:
    result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
    rows = nl.ndarray((128, 1), nl.int32)
    nisa.dma_copy(tile, x)
    nisa.iota(rows, [[0, 1]], channel_multiplier=1)
    nisa.dma_copy(result, tile)
    if broken:
        nisa.memset(rows[32:64], 5)
    nisa.dma_copy(result.vector_select(0, rows), tile)  # found
    return result


def too_many_strides(x: Any, broken: bool) -> Any:
    result = _result(x)
    tile, other = nl.ndarray(x.shape, x.dtype), nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    parts = tile.reshape((128, 2, 2, 4, 4)).permute((0, 4, 3, 2, 1))
    if broken:
        nisa.tensor_copy(other.reshape(parts.shape), parts)  # found
    else:
        for i in range(4):
            nisa.tensor_copy(other.reshape(parts.shape)[:, i], parts[:, i])
    nisa.dma_copy(result, other)
    return result


def dynamic_dma(x: Any, broken: bool) -> Any:
    result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
    rows = nl.ndarray((128, 1), nl.int32)
    nisa.iota(rows, [[0, 1]], channel_multiplier=1)
    mode = nisa.dge_mode.hwdge if broken else nisa.dge_mode.swdge
    nisa.dma_copy(tile, x.vector_select(0, rows), dge_mode=mode)  # found
    nisa.dma_copy(result, tile)
    return result


def nested_loops(x: Any, broken: bool) -> Any:
    result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)

    def add(i: Any) -> None:
        nisa.tensor_scalar(tile, tile, nl.add, 1.0)

    def again(i: Any) -> None:
        if broken:
            nl.fori_loop(0, 2, add)  # found
        else:
            for _ in range(2):
                add(i)

    nl.fori_loop(0, 2, again)
    nisa.dma_copy(result, tile)
    return result


def program_size(x: Any, broken: bool) -> Any:
    result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)

    def add(i: Any) -> None:
        nisa.tensor_scalar(tile, tile, nl.add, 1.0)  # found

    if broken:
        for i in range(20):
            add(i)
    else:
        nl.fori_loop(0, 20, add)
    nisa.dma_copy(result, tile)
    return result


def private_result(x: Any, broken: bool) -> Any:
    region = nl.private_hbm if broken else nl.shared_hbm
    result = nl.ndarray(x.shape, x.dtype, buffer=region)  # found
    tile = nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    nisa.dma_copy(result, tile)
    return result


def iteration_race(x: Any, broken: bool) -> Any:
    result = first_nl.ndarray(x.shape, x.dtype, buffer=first_nl.shared_hbm)
    total = first_nl.load(x)
    loop = first_nl.affine_range if broken else first_nl.sequential_range
    for _ in loop(3):
        total[...] = first_nl.multiply(total, 2.0)  # found
    first_nl.store(result, total)
    return result


KERNELS: dict[str, Callable[[Any, bool], Any]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        *(uninitialized_read, output_not_written, out_of_bounds, wrong_operand),
        *(generation, capacity, address_overlap, core_race, psum_never_written),
        *(reduce_register, psum_value_initialized, scattered_twice),
        *(would_not_compile, too_many_strides, dynamic_dma, nested_loops),
        *(program_size, private_result, iteration_race),
    )
}


def _run(kind: str, broken: bool) -> Any:
    function = KERNELS[kind]

    def kernel(x: Any) -> Any:
        return function(x, broken)

    if kind == "iteration-race":
        return first_nki.simulate_kernel(first_nki.jit(kernel), X.copy())
    made: Any = nki.jit(kernel)
    if kind == "core-race":
        made = made[2]
    return nki.simulate(made, target="trn2").run(X.copy())


def _line(kind: str) -> int:
    """The line that is to be found: the function's own, or that of what it calls."""
    function: Any = KERNELS[kind]
    if kind.startswith("psum-"):
        function = _product
    lines, first = inspect.getsourcelines(function)
    (place,) = (i for i, line in enumerate(lines) if line.rstrip().endswith("# found"))
    return first + place


@pytest.fixture(autouse=True)
def _small_programs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody makes five millions of instructions here."""
    monkeypatch.setattr(limits, "MOST_INSTRUCTIONS", 19)


def test_every_finding_has_a_kernel() -> None:
    assert KERNELS.keys() == FINDINGS.keys()


@pytest.mark.parametrize("kind", KERNELS)
def test_a_broken_kernel_is_found_by_name_and_line(kind: str) -> None:
    record = FINDINGS[kind]
    level = record.first if kind == "iteration-race" else record.level
    if level == "error":
        with pytest.raises(nki.NkiValidationError) as raised:
            _run(kind, broken=True)
        found = raised.value.finding
    else:
        with pytest.warns(NkiWarning, match=kind) as seen:
            (found,) = _run(kind, broken=True).findings
        assert [(w.filename, w.lineno) for w in seen] == [(__file__, _line(kind))]
    assert (found.kind, found.level, found.file) == (kind, level, __file__)
    assert found.line == _line(kind)
    as_json = json.loads(json.dumps(found.as_json()))
    assert (as_json["kind"], as_json["version"]) == (kind, JSON_VERSION)
    assert found.details.keys() <= set(record.details)


# -- switches --------------------------------------------------------------------------
IN_GROUPS = [kind.name for kind in FINDINGS.values() if kind.group]


@pytest.mark.parametrize("kind", IN_GROUPS)
def test_the_switch_of_a_group_is_that_of_its_kinds(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = FINDINGS[kind].group
    monkeypatch.setenv("NKIPY_NKI_FINDINGS", f"{group}=off")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _run(kind, broken=True).findings == []
    monkeypatch.setenv("NKIPY_NKI_FINDINGS", f"{group}=off,{kind}=error")
    with pytest.raises(nki.NkiValidationError, match=kind):
        _run(kind, broken=True)


@pytest.mark.parametrize("op", ["add", np.add, np.sum])
def test_an_operation_that_is_not_the_languages_is_told(op: Any) -> None:
    def kernel(x: Any, op: Any) -> Any:
        result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
        nisa.dma_copy(tile, x)
        nisa.tensor_tensor(tile, tile, tile, op)
        nisa.dma_copy(result, tile)
        return result

    with pytest.warns(NkiWarning, match=r"op is .*nl.add \[would-not-compile\]"):
        run = nki.simulate(kernel).run(X.copy(), op)
    np.testing.assert_array_equal(run.values, 2 * X)
    assert not nki.simulate(kernel).run(X.copy(), nl.add).findings

    @first_nki.jit
    def first(x: Any, op: Any) -> Any:
        result = first_nl.ndarray(x.shape, x.dtype, buffer=first_nl.shared_hbm)
        tile = first_nl.load(x)
        first_nl.store(result, first_nisa.tensor_tensor(tile, tile, op))
        return result

    assert not first.simulate(X.copy(), op).findings


def test_iterations_that_depend_are_found_under_nki_if_asked() -> None:
    def kernel(x: Any, broken: bool) -> Any:
        result, tile = _result(x), nl.ndarray(x.shape, x.dtype)
        total = nl.ndarray(x.shape, nl.float32, buffer=nl.psum)
        nisa.dma_copy(tile, x)
        for i in nl.affine_range(2):
            part = nl.ndarray((64, 64), x.dtype)
            nisa.tensor_copy(part, tile[64 * i : 64 * i + 64])
            nisa.nc_matmul(total[:64], part, part)
            if broken:
                nisa.tensor_scalar(tile, tile, nl.add, 1.0)
        nisa.tensor_copy(tile[:64], total[:64])
        nisa.dma_copy(result, tile)
        return result

    def run(broken: bool, **levels: str) -> Any:
        named = {name.replace("_", "-"): level for name, level in levels.items()}
        return nki.simulate(kernel, findings=named).run(X.copy(), broken)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert run(True).findings == []
        assert run(False, iteration_race="error").findings == []
        with pytest.raises(nki.NkiValidationError, match="depend on one") as raised:
            run(True, iteration_race="error")
    lines, first = inspect.getsourcelines(kernel)
    (place,) = (i for i, line in enumerate(lines) if "tile[64 * i" in line)
    found = raised.value.finding
    assert (found.kind, found.line) == ("iteration-race", first + place)


# -- details ---------------------------------------------------------------------------
def _given_details() -> dict[str, set[str]]:
    """By kind, what the sources' calls of ``report`` give by keyword."""
    given: dict[str, set[str]] = {}
    for file in Path(limits.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            kind = getattr(node.args[0], "value", None)
            if name == "report" and kind in FINDINGS:
                words = {word.arg for word in node.keywords if word.arg}
                given.setdefault(str(kind), set()).update(words - {"at"})
    return given


def test_each_detail_that_is_given_is_described() -> None:
    given = _given_details()
    given["iteration-race"] |= {"iteration", "other"}  # by what both generations share
    for kind in FINDINGS.values():
        assert given[kind.name] == set(kind.details), kind.name
    assert DETAILS.keys() == {n for kind in FINDINGS.values() for n in kind.details}


@pytest.mark.parametrize("kind", KERNELS)
def test_the_kernel_is_sound_when_it_is_mended(kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = _run(kind, broken=False)
    assert kind == "iteration-race" or made.findings == []
