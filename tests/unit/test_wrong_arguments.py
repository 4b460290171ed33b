"""Public functions below the tracer refuse arguments of wrong kinds by clear errors.

Each public function of ``nkipy.hlo``, ``nkipy.compiler`` and ``nkipy.execution`` is
called with good arguments, of which one at a time is replaced by something else. It may
take that (a number where a name was, say, is not always wrong), but what it raises is
an error of ours, whose text names the function or the argument; and what it has built
is refused, if at all, by the verifier.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from nkipy.compiler import (
    BuildOptions,
    CompilationConfig,
    CompilationError,
    Compiler,
    CompilerNotFoundError,
)
from nkipy.execution import BindingError, CallCache, build, load, simulate
from nkipy.hlo import (
    OPCODES,
    HLOArgumentError,
    HLOArgumentValueError,
    HLOBuilder,
    HLOComputation,
    HLOInstruction,
    HLOModule,
    HLOProtoError,
    HLOVerificationError,
    Shape,
    custom_calls,
)
from nkipy.hlo.instruction import Form

PACKAGES = ("nkipy.hlo", "nkipy.compiler", "nkipy.execution")
F32, I32 = np.dtype("float32"), np.dtype("int32")
OURS = (
    *(HLOArgumentError, HLOArgumentValueError, HLOVerificationError, HLOProtoError),
    *(BindingError, CompilationError, CompilerNotFoundError),
)
#: What Python says of a value that it was not meant for.
RAW = ("has no attribute", "not iterable", "not subscriptable", "not callable")
WRONG = [None, "text", object(), -1, 2.5, [], np.zeros(2, np.float32)]

#: Public, and not walked: they hold data and compute nothing, take no arguments, are
#: made by others, or are for the verifier and the reader alone.
DATA = """
    AliasInfo Artifact BoundCall BoundSimulation CallTable CompilationTarget Shape
    SourceLocation HLOInstruction SimulatedProgram LoadedProgram TensorPlaceholder
    WindowDim Opcode SimulationOptions HLOModule.set_verified Opcode.decode Opcode.texts
    Opcode.encode Opcode.taken Opcode.shown
""".split()


class Good(NamedTuple):
    """A call that succeeds.

    Attributes:
        name: the function's, with its class.
        make: gives the function, good arguments by name, and what may be verified
            after a call: a module or None.
    """

    name: str
    make: Callable[[], tuple[Callable[..., Any], dict[str, Any], HLOModule | None]]


@pytest.fixture(autouse=True)
def _no_call_stays_registered() -> Iterator[None]:
    yield
    custom_calls.unregister("Walked")


def module_of() -> HLOModule:
    module = HLOModule("whole")
    x = module.add_parameter((2, 3), "float32", "x")
    module.set_results([HLOBuilder(module.entry).negate(x)], ["y"])
    return module


class Values:
    """A builder, and operands of several kinds."""

    def __init__(self) -> None:
        self.module = module = HLOModule("built")
        self.b = HLOBuilder(module.entry)
        self.x = module.add_parameter((2, 3), F32, "x")
        self.y = module.add_parameter((2, 3), F32, "y")
        self.p = module.add_parameter((2, 3), "bool", "p")
        self.q = module.add_parameter((2, 3), "bool", "q")
        self.s = module.add_parameter((), F32, "s")
        self.i = module.add_parameter((), I32, "i")
        self.n = module.add_parameter((4, 1), I32, "n")
        self.u = module.add_parameter((4, 3), F32, "u")
        self.m = module.add_parameter((3, 2), F32, "m")


#: Arguments of the builder's methods; texts are names of :class:`Values`.
BUILDER: dict[str, dict[str, Any]] = {
    "at": {"location": ("file.py", 1)},
    "emit": {
        **{"opcode": "negate", "operands": ("x",), "shape": (2, 3), "dtype": F32},
        **{"attributes": {}, "tuple_shapes": None},
    },
    "place": {"form": "form", "operands": ("x",)},
    "constant": {"value": 1.0, "dtype": F32},
    "scalar": {"value": 1.0, "dtype": F32},
    "full": {"shape": (2, 3), "value": 1.0, "dtype": F32},
    "full_like": {"x": "x", "value": 1.0},
    "iota": {"shape": (2, 3), "dimension": 0, "dtype": I32},
    "unary": {"opcode": "negate", "x": "x"},
    "binary": {"opcode": "add", "x": "x", "y": "y"},
    **dict.fromkeys(
        ("add", "subtract", "multiply", "divide", "maximum", "minimum"),
        {"x": "x", "y": "y"},
    ),
    **dict.fromkeys(("and_", "or_", "xor"), {"x": "p", "y": "q"}),
    "not_": {"x": "p"},
    "negate": {"x": "x"},
    "compare": {"x": "x", "y": "y", "direction": "LT"},
    "select": {"predicate": "p", "x": "x", "y": "y"},
    "clamp": {"low": "s", "x": "x", "high": "s"},
    "convert": {"x": "x", "dtype": I32},
    "bitcast_convert": {"x": "x", "dtype": I32},
    "reshape": {"x": "x", "shape": (6,)},
    "transpose": {"x": "x", "permutation": (1, 0)},
    "broadcast_in_dim": {"x": "s", "shape": (4,), "dimensions": ()},
    "broadcast_to": {"x": "s", "shape": (4,)},
    "expand_dims": {"x": "x", "axes": (0,)},
    "concatenate": {"values": ("x", "y"), "dimension": 0},
    "slice": {"x": "x", "starts": (0, 0), "limits": (1, 1), "strides": (1, 1)},
    "slice_dim": {"x": "x", "dimension": 0, "start": 0, "limit": 1, "stride": 1},
    "reverse": {"x": "x", "dimensions": (0,)},
    "pad": {"x": "x", "value": "s", "padding": ((0, 1, 0), (1, 0, 0))},
    "dynamic_slice": {"x": "x", "starts": ("i", "i"), "sizes": (1, 1)},
    "dynamic_update_slice": {"x": "x", "update": "x", "starts": ("i", "i")},
    "reducer": {"opcode": "add", "dtype": F32},
    "reduce": {"x": "x", "opcode": "add", "init": 0.0, "dimensions": (0,)},
    "dot": {
        **{"x": "x", "y": "m", "contract": ((1,), (0,)), "batch": ((), ())},
        "dtype": F32,
    },
    "gather": {
        **{"x": "x", "indices": "n", "offset_dims": (1,), "slice_sizes": (1, 3)},
        **{"collapsed_slice_dims": (0,), "start_index_map": (0,)},
        "indices_are_sorted": False,
    },
    "scatter": {
        **{"x": "x", "indices": "n", "updates": "u", "update_window_dims": (1,)},
        **{"inserted_window_dims": (0,), "scatter_dims_to_operand_dims": (0,)},
        **{"unique_indices": False, "opcode": "assign"},
    },
    "tuple_result": {
        **{"opcode": "tuple", "operands": ("x", "s"), "attributes": {}},
        "shapes": (Shape(F32, (2, 3)), Shape(F32, ())),
    },
}


def _named(value: Any, values: Values) -> Any:
    if type(value) is str and value == "form":
        return Form("negate", (((2, 3), F32),), (2, 3), F32)
    if type(value) is str and hasattr(values, value):
        return getattr(values, value)
    if type(value) is tuple and value and all(type(v) is str for v in value):
        return tuple(_named(v, values) for v in value if hasattr(values, v)) or value
    return value


def builder_call(name: str) -> Good:
    def make():
        values = Values()
        arguments = {k: _named(v, values) for k, v in BUILDER[name].items()}
        method = getattr(values.b, name)
        if name != "at":
            return method, arguments, values.module

        def at(location: Any) -> None:
            with method(location):
                pass

        return at, arguments, None

    return Good(f"HLOBuilder.{name}", make)


def on_module(name: str, /, **arguments: Any) -> Good:
    def make():
        module = module_of()
        x = module.parameters[0]
        op = HLOInstruction("negate", (x,), x.shape, x.dtype)
        ours = {"results": module.results, "op": op}
        given = {k: ours[k] if v is ... else v for k, v in arguments.items()}
        return getattr(module, name), given, module

    return Good(f"HLOModule.{name}", make)


def function(package: str, name: str, /, **arguments: Any) -> Good:
    def make():
        found = getattr(importlib.import_module(package), name)
        given = {k: v() if callable(v) else v for k, v in arguments.items()}
        return found, given, None

    return Good(name, make)


def _compiler(name: str, /, **arguments: Any) -> Good:
    def make():
        given = {k: v() if callable(v) else v for k, v in arguments.items()}
        return getattr(Compiler(), name), given, None

    return Good(f"Compiler.{name}", make)


def _table(name: str, /, **arguments: Any) -> Good:
    def make():
        table = CallCache(4).table()
        table.put("key", "value")
        return getattr(table, name), arguments, None

    return Good(f"CallTable.{name}", make)


def _emit_call() -> tuple[Callable[..., Any], dict[str, Any], None]:
    values = Values()
    record = custom_calls.with_run("Walked", print, "1")
    arguments = {
        **{"builder": values.b, "record": record, "operands": [values.x]},
        **{"results": Shape(F32, (2, 3)), "backend_config": b""},
    }
    return custom_calls.emit, arguments, None


NOTHING = np.zeros((2, 3), np.float32)
WITHOUT_A_DEVICE = [
    *map(builder_call, BUILDER),
    on_module("add_parameter", shape=(2,), dtype="float32", name="z"),
    on_module("add_operation", op=...),
    on_module("set_results", results=..., names=["z"]),
    on_module("alias", output_index=0, param_index=0, is_user_returned=True),
    on_module("content_hash", compiler_args="--x"),
    Good(
        "HLOModule.from_proto",
        lambda: (HLOModule.from_proto, {"proto": module_of().serialize()}, None),
    ),
    Good(
        "HLOComputation.add_parameter",
        lambda: (
            HLOComputation("c").add_parameter,
            {"shape": (2,), "dtype": "float32", "name": "z"},
            None,
        ),
    ),
    function("nkipy.hlo", "HLOModule", name="m"),
    function("nkipy.hlo", "HLOComputation", name="m"),
    function(
        "nkipy.hlo", "HLOBuilder", computation=lambda: HLOComputation("c"), parent=None
    ),
    *(
        function("nkipy.hlo", name, module=module_of)
        for name in ("digest_module", "serialize_module", "verify_module")
    ),
    function("nkipy.hlo", "hash_module", module=module_of, compiler_args=""),
    function(
        "nkipy.hlo",
        "print_module",
        **{"module": module_of, "metadata": False, "max_literal": 3},
    ),
    function("nkipy.hlo", "read_module", proto=lambda: module_of().serialize()),
    function("nkipy.compiler", "resolve_target", target="trn2"),
    function("nkipy.compiler", "artifact_key", module=module_of, options=BuildOptions),
    function(
        "nkipy.compiler",
        "BuildOptions",
        **{"target": "trn2", "additional_compiler_args": "", "extra_key": b""},
        directory=None,
    ),
    function("nkipy.compiler", "CompilationConfig", target="trn2", neff_name="x.neff"),
    function("nkipy.compiler", "Compiler", config=CompilationConfig),
    _compiler("arguments", hlo_file=lambda: Path("a"), output=lambda: Path("b")),
    Good("emit", _emit_call),
    function("nkipy.hlo.custom_calls", "find", target="AwsNeuronTopK"),
    function("nkipy.hlo.custom_calls", "unregister", target="Walked"),
    function(
        "nkipy.hlo.custom_calls",
        "register",
        record=lambda: custom_calls.with_run("Walked", print, "1"),
    ),
    function("nkipy.execution", "CallCache", limit=3),
    Good("CallCache.shrink", lambda: (CallCache(3).shrink, {"limit": 1}, None)),
    _table("find", key="key"),
    _table("stale", key="key"),
    _table("put", key="key", value=1, holds=None),
    _table("drop", key="key"),
]


def _wrong(good: Good) -> Iterator[Any]:
    _, arguments, _ = good.make()
    for name in arguments:
        for value in WRONG:
            kind = type(value).__name__
            yield pytest.param(good, name, value, id=f"{good.name}-{name}-{kind}")


def _expect_ours(good: Good, name: str, value: Any) -> None:
    function, arguments, module = good.make()
    try:
        made = function(**{**arguments, name: value})
        if module is not None:
            made = made if isinstance(made, tuple) else (made,)
            results = [m for m in made if isinstance(m, HLOInstruction)]
            if good.name.startswith("HLOBuilder"):
                module.set_results([r for r in results if r.dtype is not None], None)
            module.verify()
    except OURS as error:
        text = str(error)
        # The verifier names the instruction, not the function that made it; the
        # compiler, or who looks for its file, the path.
        names = (good.name.partition(".")[2] or good.name, name)
        elsewhere = isinstance(error, (HLOVerificationError, CompilationError))
        assert elsewhere or any(n in text for n in names), text
        cause = error.__cause__
        if cause is None:
            assert not any(raw in text for raw in RAW), text
    except (TypeError, ValueError) as error:
        assert name in str(error), f"{type(error).__name__}: {error}"
        assert not any(raw in str(error) for raw in RAW), error


def test_good_calls_succeed():
    for good in WITHOUT_A_DEVICE:
        function, arguments, module = good.make()
        function(**arguments)
        if module is not None and good.name != "HLOModule.add_parameter":
            module.verify()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy's numbers
@pytest.mark.parametrize(
    ("good", "name", "value"), [w for good in WITHOUT_A_DEVICE for w in _wrong(good)]
)
def test_wrong_arguments(good, name, value):
    _expect_ours(good, name, value)


# ---------------------------------------------------------------------- on a device


def _on_device(tmp_path: Path) -> list[Good]:
    module = module_of()
    program, simulated = load(build(module)), simulate(module)
    x = NOTHING

    def bound(program: Any) -> Callable[..., Any]:
        call = program.bind()
        call({"x": x})
        return call

    return [
        function(
            "nkipy.execution",
            "build",
            **{"module": module_of, "options": BuildOptions, "name": "n"},
        ),
        function(
            "nkipy.execution",
            "load",
            **{"artifact": lambda: build(module), "core_id": 0, "rank": None},
        ),
        function("nkipy.execution", "simulate", module=module_of, options=None),
        function("nkipy.execution", "HostCall", resident=lambda: program),
        Good("LoadedProgram.bind", lambda: (program.bind, _BIND, None)),
        Good("SimulatedProgram.bind", lambda: (simulated.bind, _BIND_HOST, None)),
        Good("BoundCall.inputs", lambda: (bound(program), {"inputs": {"x": x}}, None)),
        Good("BoundCall.x", lambda: (_by_name(bound(program)), {"x": x}, None)),
        Good(
            "BoundSimulation.inputs",
            lambda: (bound(simulated), {"inputs": {"x": x}}, None),
        ),
        Good("BoundSimulation.x", lambda: (_by_name(bound(simulated)), {"x": x}, None)),
        Good(
            "HostCall.run",
            lambda: (
                program.host_call().run,
                {"inputs": [x], "outputs": [np.empty_like(x)]},
                None,
            ),
        ),
        Good("HostCall.empty", lambda: (program.host_call().empty, _EMPTY, None)),
        _compiler(
            "compile",
            **{"ir": module_of, "work_dir": lambda: tmp_path, "output_file": None},
        ),
        _compiler(
            "compile_in_directory",
            **{"ir": module_of, "output_dir": lambda: tmp_path, "output_file": None},
        ),
    ]


_BIND = {"inputs": None, "outputs": None, "fresh_outputs": False}
_BIND_HOST = {"inputs": None, "outputs": None}
_EMPTY = {"shape": (2,), "dtype": F32}


def _by_name(call: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: call({"x": x})


@pytest.mark.device
def test_wrong_arguments_on_a_device(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").mkdir()  # of directories, a text is a good name
    for good in _on_device(tmp_path):
        function, arguments, _ = good.make()
        function(**arguments)
        for name in arguments:
            for value in WRONG:
                _expect_ours(good, name, value)


@pytest.mark.device
def test_every_public_function_is_walked(tmp_path):
    walked = {good.name for good in (*WITHOUT_A_DEVICE, *_on_device(tmp_path))}
    missing = {n for p in PACKAGES for n in _public(p)} - walked - set(DATA)
    assert not missing


def _public(package: str) -> Iterator[str]:
    """Public functions, classes and methods that take arguments."""
    module = importlib.import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) and issubclass(value, BaseException):
            continue
        if callable(value) and inspect.signature(value).parameters:
            yield name
        if inspect.isclass(value):
            for method, made in vars(value).items():
                made = getattr(made, "__func__", made)
                if not method.startswith("_") and inspect.isfunction(made):
                    if len(inspect.signature(made).parameters) > 1:
                        yield f"{name}.{method}"


def test_what_a_stranger_found():
    module = HLOModule("m")
    with pytest.raises(HLOArgumentError, match=r"add_parameter.* 'shape'.*\(2.5,\)"):
        module.add_parameter((2.5,), "float32", "x")
    with pytest.raises(HLOArgumentError, match="element types for 'dtype'.*object"):
        module.add_parameter((2,), object)
    with pytest.raises(HLOArgumentError, match="element types for 'dtype'.*None"):
        module.add_parameter((2,), None)
    x = module.add_parameter((2,), "float32", "x")
    with pytest.raises(HLOArgumentError, match=r"add\(\) takes an HLOInstruction.*1.0"):
        HLOBuilder(module.entry).add(x, 1.0)
    with pytest.raises(IndexError, match="7 for 'param_index'.* 1 parameters"):
        module.alias(3, 7)
    with pytest.raises(HLOArgumentError, match=r"set_results\(\) takes .* for 'names'"):
        module.set_results([x], [3])
    with pytest.raises(HLOArgumentError, match="'names'.*'ab'"):
        module.set_results([x, x], "ab")
    with pytest.raises(HLOArgumentError, match=r"load\(\) takes an Artifact"):
        load("x")
    with pytest.raises(HLOArgumentError, match=r"build\(\) takes an HLOModule"):
        build("x")
    assert list(OPCODES)  # as it was
