"""Runs a random program by NumPy, in simulation and on the device, and compares."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from nkipy.core.errors import NKIPyError
from nkipy.core.tree import map_tree
from nkipy.runtime import baremetal_jit, simulate_jit
from nkipy.testing import compare
from tests.support.programs.text import MISTAKES, Program, namespace, reference

#: What :func:`check` returns: the program does the same in all modes; the kernel says
#: that it cannot be.
SAME, REFUSED = "same", "refused"

WAYS: dict[str, Callable[..., Any]] = {
    "simulate": simulate_jit,
    "baremetal": baremetal_jit,
}


def check(text: str, modes: Sequence[str] = ("simulate",)) -> str:
    """Run a program in `modes`, twice each, and compare with NumPy.

    Between the calls, what it captures changes.

    A program that NumPy refuses must be refused by the kernel.

    Returns:
        `SAME`, or `REFUSED` and the reason, if a kernel refuses what NumPy does.

    Raises:
        AssertionError: results, written arguments or their dtypes differ.
        Exception: the program fails with another error than nkipy's.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            expected = list(_outcomes(reference(text)))
        except MISTAKES as error:
            return _check_mistake(text, modes, error)
        for mode in modes:
            try:
                got = list(_outcomes(_run_in(mode, text)))
            except NKIPyError as error:
                return f"{REFUSED}: {_kind(error)}"
            for call, (ours, numpys) in enumerate(zip(got, expected)):
                compare(ours, numpys, label=f"{mode}, call {call}")
    return SAME


def _check_mistake(text: str, modes: Sequence[str], numpys: Exception) -> str:
    """Check that kernels raise an error where NumPy does."""
    for mode in modes:
        try:
            list(_outcomes(_run_in(mode, text)))
        except (*MISTAKES, NKIPyError):
            continue
        raise AssertionError(f"{mode} is silent where NumPy says: {numpys!r}")
    return SAME


def _kind(error: NKIPyError) -> str:
    return f"{error.op}: {error.reason.splitlines()[0][:70]}"


def _run_in(mode: str, text: str) -> dict[str, Any]:
    made = namespace(text)
    return {**made, "program": WAYS[mode](made["program"])}


def _outcomes(made: dict[str, Any]) -> Iterator[Any]:
    """What two calls return, and their arguments afterwards."""
    for _ in range(2):
        arguments = made["arguments"]()
        result = made["program"](*arguments)
        yield map_tree(_kept, {"result": result, "arguments": arguments})
        made["change"]()


def _kept(path: Any, leaf: Any) -> Any:
    """Results may share memory with what the next call changes."""
    return np.array(leaf) if isinstance(leaf, (np.ndarray, np.generic)) else leaf


def shrink(program: Program, fails: Callable[[Program], bool]) -> Program:
    """`program` without the steps that it needs not to fail."""
    i = len(program.steps)
    while i:
        i -= 1
        shorter = program.without(i)
        if fails(shorter):
            program, i = shorter, min(i, len(shorter.steps))
    return program
