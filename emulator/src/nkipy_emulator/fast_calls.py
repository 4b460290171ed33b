"""Where programs call handlers in the place of XLA's code, and NumPy's loops there.

From how many elements on a call is faster is measured (``benchmarks.bench_fast_calls``,
``benchmarks.bench_array_calls``) and kept in ``fast_calls.json``. Who looks for what is
to be sent asks here: :mod:`nkipy_emulator.function_calls` and
:mod:`nkipy_emulator.array_calls` for example.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from nkipy.hlo.compositions import COMPOSITIONS
from nkipy_emulator import _xla
from nkipy_emulator.errors import SimulationError

#: Where they are faster, wherever there is one, nowhere.
FastCalls = Literal["auto", "always", "never"]
#: The same, or where they are faster in a program of nothing but such calls.
Mode = Literal[FastCalls, "alone"]
VARIABLE = "NKIPY_EMULATOR_FAST_CALLS"
TABLE = Path(__file__).with_name("fast_calls.json")

#: The handlers that call NumPy's functions by name, of elements and along an axis, and
#: its product of matrices.
ELEMENTS, FOLD, PRODUCTS = "nkipy_elements", "nkipy_fold", "nkipy_products"
#: Under which the table says from how many elements on a function is no slower than
#: XLA's code where it is all of a program, or all of it are such calls.
ALONE: Literal["alone"] = "alone"

#: HLO's opcodes that are functions of NumPy's.
OPCODES: Mapping[str, str] = MappingProxyType(
    {
        "sine": "sin",
        "cosine": "cos",
        "tan": "tan",
        "tanh": "tanh",
        "exponential": "exp",
        "exponential-minus-one": "expm1",
        "log": "log",
        "log-plus-one": "log1p",
        "cbrt": "cbrt",
        "power": "power",
        "atan2": "arctan2",
        "remainder": "fmod",
    }
)


def chosen(mode: FastCalls | None) -> FastCalls:
    """`mode`, or what the environment says.

    Raises:
        SimulationError: the environment says what is none.
    """
    if mode is not None:
        return mode
    found = os.environ.get(VARIABLE) or "auto"
    for known in get_args(FastCalls):
        if found == known:
            return known
    raise SimulationError(
        f"{VARIABLE} is {found!r}; it can be {', '.join(get_args(FastCalls))}"
    )


@lru_cache(maxsize=1)
def table() -> Mapping[str, Mapping[str, int]]:
    """From how many elements on a call is faster, by function and dtype."""
    return MappingProxyType(json.loads(TABLE.read_text()))


def is_chosen(name: str, key: str, work: int, mode: Mode) -> bool:
    """Whether a call is to be made.

    Args:
        name: what the table has it under.
        key: which of the table's numbers counts: a dtype, or ``"any"``.
        work: how many elements it computes.
        mode: where calls are made.
    """
    if mode in ("always", "never"):
        return mode == "always"
    row = table().get(name, {})
    least = row.get(key)
    if mode == ALONE:
        least = row.get(f"{key} {ALONE}", row.get(ALONE, least))
    return least is not None and work >= least


@lru_cache(maxsize=1)
def known_functions() -> frozenset[str]:
    """The functions that this NumPy has a loop of float32 for; handlers know them."""
    found = set()
    for name in (*OPCODES.values(), *COMPOSITIONS):
        ufunc = getattr(np, name)
        signature = "f" * ufunc.nin + "->f"
        if signature in ufunc.types:
            _xla.add_function(name, ufunc, ufunc.types.index(signature))
            found.add(name)
    return frozenset(found)


def know_functions(names: Iterable[str]) -> bool:
    """Let handlers know what code calls that another process has made.

    Args:
        names: what :func:`known_functions` and :func:`function_of` have returned there.

    Returns:
        Whether there are all of them here.
    """
    return all(map(_is_known, names))


def _is_known(known: str) -> bool:
    if known in known_functions():
        return True
    name, _, dtype = known.rpartition("_")
    try:
        return function_of(name, np.dtype(dtype)) is not None
    except (AttributeError, TypeError):  # of no function, of no dtype of NumPy's
        return False


@cache
def function_of(
    name: str, dtype: np.dtype, result: np.dtype | None = None
) -> str | None:
    """What handlers know NumPy's function of a dtype as; None if it has no loop.

    Args:
        name: NumPy's name.
        dtype: that of its operands.
        result: that of its result, if that is another one.
    """
    ufunc: np.ufunc = getattr(np, name)
    signature = f"{dtype.char * ufunc.nin}->{(result or dtype).char}"
    if signature not in ufunc.types:
        return None
    known = f"{name}_{dtype}"
    _xla.add_function(known, ufunc, ufunc.types.index(signature))
    return known
