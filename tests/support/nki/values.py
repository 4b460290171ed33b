"""Calls of the language's functions with sound arguments, of both generations.

A test replaces one argument after the other by values of all kinds. Every function is
here: who adds one, and no argument that it needs is known, is told so.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy_nki.neuronxcc.nki import isa as first_isa
from nkipy_nki.neuronxcc.nki import language as first_nl

#: What modules have besides; and a kernel has no use for.
_HELPERS = {"find_dtype", "lenient", "lenient_functions", "refusing"}

__all__ = ["ANYTHING", "MODULES", "called", "functions", "parameters"]

#: Values of all kinds.
ANYTHING = [
    *("text", None, -1, 3.5, 1 << 40, float("nan"), 1j, True),
    *((), (1, 2, 3), [[1, "a"]], {}, object(), np.ones(3), np.ones(())),
]

Made = Callable[[], Any]
_LOOPS: list[Any] = []


def _today(dtype: Any = nl.float32, shape: Any = (32, 16), value: int = 1) -> Made:
    def make() -> Any:
        made = nl.ndarray(shape, dtype)
        nisa.memset(made, value)
        return made

    return make


def _first(dtype: Any = "float32", shape: Any = (32, 16), value: int = 1) -> Made:
    return lambda: first_nl.full(shape, value, dtype)


def _hbm(dtype: Any = nl.float32, shape: Any = (32, 16)) -> Made:
    def make() -> Any:
        made = nl.ndarray(shape, dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(made, _today(dtype, shape)())
        return made

    return make


def _first_hbm(dtype: Any = "float32", shape: Any = (32, 16)) -> Made:
    def make() -> Any:
        made = first_nl.ndarray(shape, dtype, buffer=nl.private_hbm)
        first_nl.store(made, 1)
        return made

    return make


def _is(value: Any) -> Made:
    return lambda: value


def _below() -> Any:
    """A predicate of places in a tile."""
    return first_nl.arange(16)[None, :] < first_nl.arange(32)[:, None]


def _moved() -> Any:
    """A column of a tile that only the run knows."""
    at = first_nl.full((1, 1), 3, "int32")
    return _first()()[first_nl.arange(32)[:, None], at[0, 0]]


def _indexed() -> Any:
    """Rows of a tensor that a tile of numbers names."""
    rows = first_nl.full((32, 1), 3, "int32")
    return _first_hbm()()[rows[first_nl.arange(32)[:, None], 0], _columns()]


def _counters() -> Any:
    """That of a loop, which ends with the kernel."""
    _LOOPS[:] = [iter(first_nl.affine_range(2))]
    return [next(_LOOPS[0])]


def _columns() -> Any:
    return first_nl.arange(16)[None, :]


def _body(*_: Any) -> None:
    """What a loop repeats."""


def _last(*_: Any) -> Any:
    """What a loop repeats that ends with it."""
    return nisa.register_alloc(0)


#: What each parameter is given that must be, unless `SPECIAL` has it.
_SHARED: dict[str, Made] = {
    "axis": _is(1),
    "dtype": _is("float32"),
    "shape": _is((32, 16)),
    "fill_value": _is(1.0),
    "value": _is(1.0),
    "rate": _is(0.5),
    "prob": _is(0.5),
    "n": _is(16),
    "start": _is(0),
    "size": _is(4),
    "args": _is(3),
    "seed": _is(3),
    "op0": _is(np.add),
    "op1": _is(np.multiply),
    "operand0": _is(1.0),
    "operand1": _is(2.0),
    "reduce_op": _is(np.add),
    "initial": _is(0.0),
    "constant": _is(np.ones((4, 4), np.float32)),
    "prefix": _is("x"),
    "print_prefix": _is("x"),
    "tile_shape": _is((32, 16)),
    "block_shape": _is((1, 1)),
    "element_shape": _is((32, 16)),
    "buffer": _is(nl.sbuf),
    "lower": _is(0),
    "upper": _is(2),
    "body_fun": _is(_body),
}
_TILES = "x y w a src data dst tensor on_true_tile stationary moving data0 data1 data2"
_TODAY = {**_SHARED, **{name: _today() for name in _TILES.split()}}
_FIRST = {
    **_SHARED,
    **{name: _first() for name in _TILES.split()},
    "op": _is(np.add),
    "reduce_res": _first(shape=(32, 1)),
}
_BYTES = "bitwise_and bitwise_or bitwise_xor left_shift right_shift invert".split()

#: By module and function, what it is given where that differs.
_SPECIAL: dict[str, dict[str, dict[str, Made]]] = {
    "nl": {
        **{name: {"x": _today(nl.int32), "y": _today(nl.int32)} for name in _BYTES},
        "load": {"src": _hbm()},
        "load_transpose2d": {"src": _hbm()},
        "store": {"dst": _hbm(), "value": _today()},
        "device_print": {"tensor": _hbm()},
        "gather_flattened": {"indices": _today(nl.uint32)},
        "where": {"condition": _today(nl.uint8)},
        "tiles": {"source": _hbm(), "tile_shape": _is((32, 16))},
        "blocks": {"source": _hbm(), "tile_shape": _is((32, 16))},
        "while_loop": {
            "init": lambda: nisa.register_alloc(0),
            "body_fun": _is(_last),
        },
        "random_seed": {"seed": _today(nl.uint32, (1, 1))},
        "matmul": {"y": _today(shape=(16, 16))},
    },
    "first nl": {
        **{name: {"x": _first("int32"), "y": _first("int32")} for name in _BYTES},
        "load": {"src": _first_hbm()},
        "load_transpose2d": {"src": _first_hbm()},
        "store": {"dst": _first_hbm()},
        "gather_flattened": {"indices": _first("uint32")},
        "where": {"condition": _first("uint8")},
        "loop_reduce": {"loop_indices": _counters},
        "matmul": {"y": _first(shape=(16, 16))},
        "rms_norm": {"w": _first(shape=(1, 16))},
        "atomic_rmw": {"dst": _indexed, "value": _first()},
        "static_cast": {"input_data": _is(np.ones((2, 2)))},
    },
    "first nisa": {
        "activation": {"op": _is(np.exp)},
        "activation_reduce": {"op": _is(np.exp)},
        "dma_copy": {"dst": _first(), "src": _first_hbm()},
        "dma_transpose": {"src": _first_hbm("bfloat16")},
        "affine_select": {"pred": _below, "on_false_value": _is(0.0)},
        "bn_aggr": {"data": _first(shape=(32, 18))},
        "iota": {"expr": lambda: first_nl.arange(16)[None, :], "dtype": _is("int32")},
        "local_gather": {
            "src_buffer": _first(),
            "index": _first("uint16", (32, 1)),
        },
        "nc_find_index8": {"vals": _first(shape=(32, 8))},
        "nc_match_replace8": {"vals": _first(shape=(32, 8)), "imm": _is(0.0)},
        "nc_stream_shuffle": {"shuffle_mask": _is(list(range(32)))},
        "range_select": {
            **{"comp_op0": _is(np.greater_equal), "comp_op1": _is(np.less)},
            **{"bound0": _first(shape=(32, 1)), "bound1": _first(shape=(32, 1))},
        },
        "scalar_tensor_tensor": {"operand1": _first()},
        "select_reduce": {
            **{"predicate": _first("uint8"), "on_true": _first()},
            "on_false": _is(0.0),
        },
        "sequence_bounds": {"segment_ids": _first(shape=(1, 32))},
        "tensor_copy_dynamic_dst": {"dst": _moved, "src": _first(shape=(32, 1))},
        "tensor_copy_dynamic_src": {"src": _moved},
        "tensor_copy_predicated": {"predicate": _first("uint8")},
    },
}
MODULES = {"nl": nl, "first nl": first_nl, "first nisa": first_isa}


def functions(module: str) -> list[str]:
    """The names of the functions that a module offers."""
    found = MODULES[module]
    return [
        name
        for name, value in sorted(vars(found).items())
        if not name.startswith("_")
        and inspect.isfunction(value)
        and name not in _HELPERS
    ]


def parameters(module: str, name: str) -> Iterator[inspect.Parameter]:
    """Those of a function that a value is given for."""
    signature = inspect.signature(getattr(MODULES[module], name))
    for parameter in signature.parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD and parameter.name != "name":
            yield parameter


def called(module: str, name: str, given: Mapping[str, Any]) -> Any:
    """Call a function with what is given, and sound values for what else it needs."""
    known = _TODAY if module == "nl" else _FIRST
    special = _SPECIAL[module].get(name, {})
    known = {**known, **special}
    args: list[Any] = []
    values: dict[str, Any] = {}
    for parameter in parameters(module, name):
        if parameter.name in given:
            value = given[parameter.name]
        elif parameter.default is parameter.empty or parameter.name in special:
            value = known[parameter.name]()
        else:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            args.append(value)
        else:
            values[parameter.name] = value
    return getattr(MODULES[module], name)(*args, **values)
