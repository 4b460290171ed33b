"""Runs the program that a custom call carries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from nkipy_nki.dtypes import DTypeRecord, as_outside, narrow, on_device
from nkipy_nki.embedding.interfaces import decoded, interface
from nkipy_nki.findings import Findings
from nkipy_nki.program import Program
from nkipy_nki.replaying import Show, run_in
from nkipy_nki.running import refusing
from nkipy_nki.simulation import print_values

__all__ = ["run", "run_ranks"]

#: Called with a rank, a name and values: whether it has taken them.
Take: TypeAlias = Callable[[int, str, np.ndarray], bool]
#: Called before each step: it raises a TimeoutError if the run takes too long.
GoOn: TypeAlias = Callable[[], None]


def run(
    program: bytes,
    inputs: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
    show: Take | None = None,
    go_on: GoOn | None = None,
) -> None:
    """Run a program.

    Args:
        program: its bytes.
        inputs: the arrays, in C's order; they are not written.
        outputs: the arrays to fill. One that is an input updated in place holds the
            input's values already.
        show: called with a rank, a name and the values that ``device_print`` prints.
            What it does not take, of which it says so, is printed to stdout.
        go_on: called before each step; what it raises, a TimeoutError, ends the run.

    Raises:
        NkiProgramError: the bytes are no program, or the arrays do not fit it.
        NkiValidationError: a finding that only values show.
    """
    _run(program, [inputs], [outputs], show, go_on)


def run_ranks(
    program: bytes,
    inputs: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
    show: Take | None = None,
    go_on: GoOn | None = None,
) -> None:
    """Run a program on several ranks, which exchange what it says.

    Args:
        program: its bytes.
        inputs, outputs: as of :func:`run`, with a first dimension: a row for each rank.
        show, go_on: as of :func:`run`.

    Raises:
        NkiProgramError, NkiValidationError: as of :func:`run`.
    """
    count = len([*inputs, *outputs][0])
    given, filled = (
        [[array[rank] for array in arrays] for rank in range(count)]
        for arrays in (inputs, outputs)
    )
    _run(program, given, filled, show, go_on)


def _run(
    program: bytes,
    inputs: Sequence[Sequence[np.ndarray]],
    outputs: Sequence[Sequence[np.ndarray]],
    show: Take | None,
    go_on: GoOn | None,
) -> None:
    """The same with the arrays of each rank."""
    programs = decoded(program)
    aliases = interface(program).aliases
    taken = [
        _taken(programs[0], given, filled, aliases)
        for given, filled in zip(inputs, outputs)
    ]
    findings = Findings()
    with refusing(findings):
        ran = run_in(programs, taken, findings, show=_shown(show), go_on=go_on)
    for filled, values in zip(outputs, ran):
        for array, value, view in zip(filled, values, programs[0].outputs):
            _fill(array, value, view.dtype)


def _shown(take: Take | None) -> Show:
    def show(rank: int, name: str, values: np.ndarray) -> None:
        if take is None or not take(rank, name, values):
            print_values(name, values)

    return show


def _taken(
    program: Program,
    inputs: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
    aliases: Mapping[int, int],
) -> list[np.ndarray]:
    """The inputs as they are stored; one that is updated in place is the output."""
    arrays = [np.ascontiguousarray(array) for array in inputs]
    for out, i in aliases.items():
        arrays[i] = outputs[out]
    for i, number in enumerate(program.inputs[: len(arrays)]):
        dtype = program.allocations[number].dtype
        if dtype.is_kept_in_float32:
            arrays[i] = arrays[i].astype(np.float32)
        elif arrays[i].dtype == dtype.outside:
            arrays[i] = arrays[i].view(dtype.element)
    return arrays


def _fill(array: np.ndarray, values: np.ndarray, dtype: DTypeRecord) -> None:
    """Store a result, rounded if it was kept in float32."""
    if dtype.is_kept_in_float32:
        array[...] = narrow(values, on_device(dtype))
    elif dtype.outside != dtype.element or not np.may_share_memory(array, values):
        array[...] = as_outside(values, dtype)
