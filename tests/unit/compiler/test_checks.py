"""Every code that the compiler can refuse a well-formed program with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neff import read_neff
from nkipy.core import dtypes as dt
from nkipy.core.tensor_apis import topk
from nkipy.core.trace import trace_function
from nkipy.hlo import custom_calls
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.custom_calls import CustomCall, Passes, accept
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.opcodes import WindowDim
from nkipy_emulator import (
    SimulationError,
    XlaCpuEngine,
    register_custom_call,
    unregister_custom_call,
)
from nkipy_emulator.compiler.diagnostics import CODES
from tests.unit.compiler.conftest import Compile
from tests.unit.hlo.sample import Sample, computation, reducer

_DOT = {
    "lhs_contracting_dims": (1,),
    "rhs_contracting_dims": (0,),
    "lhs_batch_dims": (),
    "rhs_batch_dims": (),
}
_SOLVE = {
    "left_side": True,
    "lower": False,
    "unit_diagonal": False,
    "transpose_a": True,
}
_GROUPS = {"replica_groups": ((0, 1),)}


def _dot(dtype: str) -> Sample:
    return Sample("dot", (f"{dtype}[2,3]", f"{dtype}[3,4]"), f"{dtype}[2,4]", _DOT)


def _scatter(dtype: str, opcode: str = "add") -> Sample:
    attributes = {
        "update_window_dims": (1,),
        "inserted_window_dims": (0,),
        "scatter_dims_to_operand_dims": (0,),
        "index_vector_dim": 1,
        "to_apply": _overwrite(dtype) if opcode == "=" else reducer(opcode, dtype),
    }
    operands = (f"{dtype}[9,4]", "s32[5,1]", f"{dtype}[5,4]")
    return Sample("scatter", operands, f"{dtype}[9,4]", attributes)


def _overwrite(dtype: str) -> Any:
    update = computation("second", f"{dtype}[] {dtype}[]")
    update.root = update.parameters[1]
    return update


def _convolution(*window: WindowDim) -> Sample:
    size = [
        ((8 - 1) * d.lhs_dilate + 1 - ((d.size - 1) * d.rhs_dilate + 1)) // d.stride + 1
        for d in window
    ]
    attributes = {"window": window, "dim_labels": "bf01_oi01->bf01"}
    operands = ("f32[2,3,8,8]", "f32[4,3,3,3]")
    return Sample("convolution", operands, f"f32[2,4,{size[0]},{size[1]}]", attributes)


def _reduce_window(dim: WindowDim, size: int) -> Sample:
    attributes = {"window": (dim,), "to_apply": reducer("maximum")}
    return Sample("reduce-window", ("f32[8]", "f32[]"), f"f32[{size}]", attributes)


def _two_windows() -> Sample:
    both = "(f32[], f32[])"
    body = computation(
        "both",
        "f32[] f32[] f32[] f32[]",
        ("add", (0, 2), "f32[]"),
        ("add", (1, 3), "f32[]"),
        ("tuple", (4, 5), both),
    )
    attributes = {"window": (WindowDim(2),), "to_apply": body}
    operands = ("f32[8]", "f32[8]", "f32[]", "f32[]")
    return Sample("reduce-window", operands, "(f32[7], f32[7])", attributes)


def _all_reduce(dtype: str) -> Sample:
    attributes = {**_GROUPS, "to_apply": reducer("add", dtype)}
    return Sample("all-reduce", (f"{dtype}[4]",), f"{dtype}[4]", attributes)


def _reduce_scatter(dtype: str) -> Sample:
    attributes = {**_GROUPS, "dimensions": (0,), "to_apply": reducer("add", dtype)}
    return Sample("reduce-scatter", (f"{dtype}[4]",), f"{dtype}[2]", attributes)


def _shift(dtype: str) -> Sample:
    x = f"{dtype}[4]"
    return Sample("shift-right-arithmetic", (x, x), x)


def _call(target: str, *operands: str, result: str = "f32[4]") -> Sample:
    return Sample("custom-call", operands, result, {"custom_call_target": target})


def _topk(dtype: str) -> Sample:
    result = f"({dtype}[2], u32[2])"
    return _call("AwsNeuronTopK", f"{dtype}[4]", result=result)


REFUSED = [
    ("NCC_ESPP004", Sample("convert", ("f32[2]",), "f64[2]"), ""),
    (
        "NCC_EVRF001",
        Sample("triangular-solve", ("f32[3,3]",) * 2, "f32[3,3]", _SOLVE),
        "",
    ),
    (
        "NCC_EVRF010",
        _convolution(WindowDim(3, 1, 0, 0, 2), WindowDim(3, 1, 0, 0, 1, 2)),
        "",
    ),
    ("NCC_EVRF011", _convolution(WindowDim(3, 2, 0, 0, 2), WindowDim(3)), ""),
    ("NCC_EVRF013", _topk("s32"), ""),
    ("NCC_EVRF015", _call("nobody", "f32[4]"), ""),
    ("NCC_EVRF016", _scatter("s8"), "none"),
    ("NCC_EVRF017", _reduce_window(WindowDim(2, lhs_dilate=2), 14), ""),
    ("NCC_EVRF018", _reduce_window(WindowDim(2, rhs_dilate=2), 6), ""),
    ("NCC_EVRF019", _two_windows(), ""),
    ("NCC_EVRF022", _shift("s16"), ""),
    ("NCC_EVRF035", _dot("s32"), "none"),
    ("NCC_EVRF035", _dot("s32"), "scatter,pow"),
    ("NCC_EVRF051", Sample("convert", ("f32[4]",), "f8e4m3fn[4]"), ""),
    ("NCC_EVRF060", _scatter("u32"), "dot"),
    ("NCC_EVRF061", _all_reduce("s32"), "reduce_scatter"),
    ("NCC_EVRF062", Sample("power", ("s64[4]",) * 2, "s64[4]"), "none"),
    ("NCC_EVRF063", _reduce_scatter("s32"), "all_reduce"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: f"{c[0]} {c[1].label}")
def test_refused(case: Any, compile_module: Compile, tmp_path: Path) -> None:
    code, sample, downcast = case
    options = [f"--implicit-integer-downcast={downcast}"] if downcast else []
    done = compile_module(sample.build(), *options)
    text = done.stderr.decode()
    assert done.returncode == 70
    assert text.startswith(f"[ERROR] [{code}] ") and text.count("[ERROR]") == 1
    assert f" {sample.opcode}(" in text.splitlines()[1]
    assert f"[{code}]" in (tmp_path / "log-neuron-cc.txt").read_text()
    assert not (tmp_path / "file.neff").exists()


ACCEPTED = [
    Sample("add", ("s64[2]", "s64[2]"), "s64[2]"),
    Sample("copy", ("f8e4m3[4]",), "f8e4m3[4]"),
    Sample("copy", ("f8e5m2[4]",), "f8e5m2[4]"),
    _convolution(WindowDim(3, lhs_dilate=2), WindowDim(3, lhs_dilate=2)),
    _convolution(WindowDim(3, stride=2, rhs_dilate=2), WindowDim(3)),
    _reduce_window(WindowDim(2, stride=2), 4),
    _shift("s32"),
    _shift("u32"),
    _topk("f32"),
    _topk("bf16"),
    _dot("f32"),
    _dot("s8"),
    _scatter("f32"),
    _scatter("s32", "="),
    _all_reduce("f32"),
    Sample("power", ("s32[4]",) * 2, "s32[4]"),
    Sample("cholesky", ("f32[3,3]",), "f32[3,3]", {"lower": True}),
]


@pytest.mark.parametrize("sample", ACCEPTED, ids=lambda s: s.label)
def test_accepted_without_a_word(sample: Sample, compile_module: Compile) -> None:
    done = compile_module(sample.build(), "--implicit-integer-downcast", "none")
    assert (done.returncode, done.stderr) == (0, b"")


WARNED = [
    ("NCC_EVRF016", _scatter("pred", "or"), "trn2", ()),
    ("NCC_EVRF035", _dot("s32"), "trn2", ()),
    ("NCC_EVRF035", _dot("s32"), "trn1", ("--implicit-integer-downcast=none",)),
    ("NCC_EVRF060", _scatter("s32"), "trn3", ("--implicit-integer-downcast=all",)),
    ("NCC_EVRF061", _all_reduce("u32"), "trn2", ()),
    ("NCC_EVRF063", _reduce_scatter("s64"), "trn2", ()),
    ("NKIPY_EMU001", _call("AwsNeuronGelu", "f32[4]"), "trn2", ()),
]


@pytest.mark.parametrize("case", WARNED, ids=lambda c: f"{c[0]} {c[1].label} {c[2]}")
def test_warned(case: Any, compile_module: Compile) -> None:
    code, sample, target, options = case
    done = compile_module(sample.build(), *options, target=target)
    assert done.returncode == 0
    assert done.stderr.decode().startswith(f"[WARNING] [{code}] ")


def test_int64_products_are_refused_on_trn1_too(compile_module: Compile) -> None:
    options = ("--implicit-integer-downcast=none",)
    done = compile_module(_dot("s64").build(), *options, target="trn1")
    assert done.returncode == 70 and b"[NCC_EVRF035]" in done.stderr


@pytest.mark.parametrize("target", ["inf2", "trn1", "trn1n", "trn2", "trn3"])
def test_fp8_by_target(target: str, compile_module: Compile) -> None:
    module = Sample("negate", ("f8e4m3fn[4]",), "f8e4m3fn[4]").build()
    expected = 0 if target == "trn3" else 70
    assert compile_module(module, target=target).returncode == expected
    flag = "--experimental-unsafe-fp8e4m3fn-as-fp8e4m3"
    assert compile_module(module, flag, target=target).returncode == 0


@pytest.mark.parametrize("value", [0, (1 << 32) - 1, 1 << 32, (1 << 64) - 1])
def test_wide_constants(value: int, compile_module: Compile) -> None:
    module = HLOModule("m")
    b = HLOBuilder(module.entry)
    constant = b.constant(np.array([1, value], np.uint64))
    module.set_results(b.unary("copy", constant))
    done = compile_module(module)
    refused = value >= 1 << 32
    assert done.returncode == (70 if refused else 0)
    assert (b"[NCC_ESFH002]" in done.stderr) == refused


def _indexed(
    opcode: str, indices: int, rows: int, *, joined: bool = False
) -> HLOModule:
    """Rows 0 to `indices` of an array with `rows` rows, read or written."""
    module = HLOModule("m")
    b = HLOBuilder(module.entry)
    x = module.add_parameter((rows, 4), np.float32, "x")
    index = b.reshape(b.convert(b.iota((indices,), 0), dt.uint32), (indices, 1))
    dims: tuple[int, ...] = (0,)
    if joined:
        columns = b.full((indices, 1), 1, dt.uint32)
        index, dims = b.concatenate([columns, index], 1), (1, 0)
    window = () if joined else (1,)
    removed = (0, 1) if joined else (0,)
    shape = (indices,) if joined else (indices, 4)
    if opcode == "gather":
        attributes: dict[str, Any] = {
            "offset_dims": window,
            "collapsed_slice_dims": removed,
            "start_index_map": dims,
            "index_vector_dim": 1,
            "slice_sizes": (1, 1) if joined else (1, 4),
        }
        value = b.emit("gather", (x, index), shape, dt.float32, attributes)
    else:
        attributes = {
            "update_window_dims": window,
            "inserted_window_dims": removed,
            "scatter_dims_to_operand_dims": dims,
            "index_vector_dim": 1,
            "to_apply": reducer(),
        }
        operands = (x, index, b.full(shape, 1, dt.float32))
        value = b.emit("scatter", operands, x.shape, dt.float32, attributes)
    module.set_results(value)
    return module


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize(
    ("opcode", "code"), [("gather", "NCC_EVRF056"), ("scatter", "NCC_EVRF031")]
)
def test_indices_out_of_bounds(
    opcode: str, code: str, joined: bool, compile_module: Compile
) -> None:
    assert compile_module(_indexed(opcode, 9, 9, joined=joined)).returncode == 0
    done = compile_module(_indexed(opcode, 10, 9, joined=joined))
    assert done.returncode == 70
    assert f"[{code}]" in done.stderr.decode()
    assert "[0, 10) made by iota" in done.stderr.decode()


@pytest.mark.parametrize(("target", "gib"), [("trn1", 16), ("trn2", 24), ("trn3", 36)])
def test_memory(target: str, gib: int, compile_module: Compile) -> None:
    def module(elements: int) -> HLOModule:
        return Sample("negate", (f"s8[{elements}]",), f"s8[{elements}]").build()

    half = gib << 29
    assert compile_module(module(half), target=target).returncode == 0
    done = compile_module(module(half + 1), target=target)
    assert done.returncode == 70 and b"[NCC_EVRF009]" in done.stderr
    assert str(2 * half + 2).encode() in done.stderr


def test_the_source_line_is_named(compile_module: Compile) -> None:
    def kernel(a: Any) -> Any:
        return topk(a, 2)  # the line

    module = trace_function(kernel, (np.zeros(4, np.int32),), {}).module
    line = kernel.__code__.co_firstlineno + 1
    done = compile_module(module)
    assert f"    at {__file__}:{line}" in done.stderr.decode()


def test_all_findings_are_shown_up_to_a_limit(compile_module: Compile) -> None:
    module = HLOModule("m")
    b = HLOBuilder(module.entry)
    x = module.add_parameter((4,), np.int16, "x")
    for _ in range(30):
        x = b.binary("shift-right-arithmetic", x, x)
    module.set_results(x)
    done = compile_module(module)
    assert done.stderr.count(b"[NCC_EVRF022]") == 20


def test_what_runs_here_can_be_let_pass(
    compile_module: Compile, tmp_path: Path
) -> None:
    option = "--internal-emulator-checks=warn"
    solve = Sample("triangular-solve", ("f32[3,3]",) * 2, "f32[3,3]", _SOLVE)
    for sample in (_topk("s32"), solve):
        done = compile_module(sample.build(), option)
        assert done.returncode == 0 and done.stderr.startswith(b"[WARNING] [NCC_EVRF")
        assert read_neff(tmp_path / "file.neff").is_emulated
    double = Sample("add", ("f64[2]", "f64[2]"), "f64[2]")
    for sample in (double, _call("nobody", "f32[4]")):
        assert compile_module(sample.build(), option).returncode == 70


def test_registered_handlers_are_known(compile_module: Compile) -> None:
    module = _call("somebody", "f32[4]").build()
    register_custom_call("somebody", lambda inputs, outputs, config: None)
    try:
        assert compile_module(module).returncode == 0
    finally:
        unregister_custom_call("somebody")
    assert compile_module(module).returncode == 70


def test_records_that_do_not_fit_a_call_are_refused(compile_module: Compile) -> None:
    """NKIPY_EMU002."""
    parts: Any = {"version": "1", "cost": Passes("VectorE"), "run": print}
    module = _call("somebody", "f32[5]").build()
    aliased = CustomCall(target="somebody", check=accept, aliases={0: 0}, **parts)
    custom_calls.register(aliased)
    try:
        done = compile_module(module)
    finally:
        custom_calls.unregister("somebody")
    assert done.returncode == 70
    assert b"[NKIPY_EMU002] Custom call to 'somebody'" in done.stderr
    assert (
        b"output 0 cannot be operand 0 of (f32[4]) custom-call(f32[5])" in done.stderr
    )


@pytest.mark.parametrize(
    ("operands", "result"),
    [
        ((), "(f32[2], u32[2])"),
        (("f32[4]", "f32[4]"), "(f32[2], u32[2])"),
        (("f32[]",), "(f32[], u32[])"),
        (("f32[4]",), "f32[2]"),
        (("f32[4]",), "(f32[2], u32[2], u32[2])"),
        (("f32[4]",), "(f32[5], u32[5])"),
        (("f32[4]",), "(f32[2], u32[3])"),
        (("f32[4]",), "(bf16[2], u32[2])"),
        (("f32[4]",), "(f32[2], f32[2])"),
        (("f32[3,4]",), "(f32[2], u32[2])"),
    ],
)
def test_a_top_k_that_is_none_is_refused(
    operands: tuple[str, ...], result: str, compile_module: Compile
) -> None:
    module = _call("AwsNeuronTopK", *operands, result=result).build()
    done = compile_module(module)
    assert done.returncode == 70 and b"[NCC_EVRF064] AwsNeuronTopK" in done.stderr
    with pytest.raises(SimulationError, match="AwsNeuronTopK takes"):
        XlaCpuEngine().compile(module)


def test_every_code_is_tested() -> None:
    here = Path(__file__).read_text()
    others = (Path(__file__).parent / "test_refusals.py").read_text()
    others += (Path(__file__).parent / "test_command.py").read_text()
    assert [c for c in CODES if c not in here + others] == []


def test_every_code_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "compiler.md").read_text()
    rows = dict(re.findall(r"^\| (N\w+) \| (.*) \|$", page, re.MULTILINE))
    assert rows == CODES
