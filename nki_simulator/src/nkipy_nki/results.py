"""What a kernel returned: which tensors may be results, and their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

import numpy as np

from nkipy_nki.arguments import Arguments
from nkipy_nki.dtypes import as_outside
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.findings import Findings
from nkipy_nki.memory import Memory
from nkipy_nki.program import Line, View
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.running import Run, kernel_line
from nkipy_nki.trees import map_tree

__all__ = ["Returned", "require_written", "results_of", "value_of"]


@dataclass(frozen=True)
class Returned:
    """What a kernel returned.

    Attributes:
        structure: places stand for tensors, in the containers that the kernel has.
        views: the tensors.
    """

    structure: Any
    views: tuple[View, ...]

    def fill(self, values: Sequence[Any]) -> Any:
        """The structure with a value for each tensor."""

        def filled(leaf: Any) -> Any:
            return values[leaf.number] if isinstance(leaf, _Place) else leaf

        return map_tree(filled, self.structure)


@dataclass(frozen=True)
class _Place:
    """Where a tensor is in what a kernel returned."""

    number: int


def results_of(run: Run, returned: Any) -> Returned:
    """The tensors that a kernel returned, which become its program's outputs.

    They may be in dicts, lists, tuples and dataclasses: see :mod:`nkipy_nki.trees`.

    Raises:
        NkiValidationError: one is not in HBM, or not wholly written; or a container
            holds itself.
    """
    views: list[View] = []

    def place(value: Any) -> Any:
        _require_finished(value, run.findings.kernel)
        if hasattr(value, "register"):
            text = f"the kernel returns {value!r}, and results must be tensors"
            run.findings.report("wrong-operand", text, kernel_line())
        if not isinstance(value, View):
            _require_no_grid(run, value)
            return value
        run.require_own(value.allocation, "what the kernel returns")
        for number, view in enumerate(views):
            if view.allocation is value.allocation and view.is_whole and value.is_whole:
                return _Place(number)
        _require_result(run, value)
        views.append(value)
        return _Place(len(views) - 1)

    structure = map_tree(place, returned)
    run.program.returns_tuple = isinstance(returned, (tuple, list))
    run.program.outputs.extend(views)
    return Returned(structure, tuple(views))


def _require_no_grid(run: Run, value: Any) -> None:
    """Refuse a tensor whose indices count tiles: the tensor itself is a result."""
    if isinstance(getattr(value, "data", None), View):
        text = (
            f"the kernel returns a {type(value).__name__}, and results must be "
            "tensors: return its data"
        )
        run.findings.report("wrong-operand", text, kernel_line())


#: What Python makes of a function whose body it has not run, and where its code is.
_UNFINISHED = {
    GeneratorType: ("a generator", "gi_code"),
    CoroutineType: ("a coroutine", "cr_code"),
    AsyncGeneratorType: ("an asynchronous generator", "ag_code"),
}


def _require_finished(value: Any, kernel: str) -> None:
    """Refuse what ``yield`` and ``async`` make of a kernel: it was not run."""
    if type(value) not in _UNFINISHED:
        return
    what, attribute = _UNFINISHED[type(value)]
    code = getattr(value, attribute)
    if isinstance(value, CoroutineType):
        value.close()  # or Python warns that nobody has waited for it
    line = Line(code.co_filename, code.co_firstlineno, code.co_name)
    raise NkiValidationError(
        f"the kernel {kernel} returns {what}, and results must be tensors: a kernel "
        f"has neither yield nor async\n  at {line}"
    )


def value_of(run: Run, view: View, arguments: Arguments) -> Any:
    """A result: the caller's own array if the kernel returns an argument."""
    for argument, number in zip(arguments.arrays, run.program.inputs):
        if view.allocation.id == number and view.is_whole:
            return argument.given
    assert run.machine is not None
    values = run.machine.memory.take(view)
    return arguments.as_given(as_outside(values, view.dtype))


def _needs_shared(run: Run) -> bool:
    """Whether a result that is one core's own is none; not where ranks share an HBM."""
    core = run.core
    return core is None or core.group.lnc > 1 or not core.group.hbm_groups


def _require_result(run: Run, view: View) -> None:
    made = view.allocation
    if made.region.is_on_chip:
        run.findings.report(
            "wrong-operand",
            f"the kernel returns {made}, and results must be in shared_hbm",
            made.line,
        )
    if run.grid.shape and made.region is MemoryRegion.private_hbm:
        run.findings.report(
            "wrong-operand",
            f"the kernel returns {made}, of which each core has one: results of "
            "several cores must be in shared_hbm",
            made.line,
        )
    elif (
        made.region is MemoryRegion.private_hbm
        and made.role != "input"
        and _needs_shared(run)
    ):
        run.findings.report(
            "private-result",
            f"the kernel returns {made}, and results must be in shared_hbm: give "
            "buffer=nl.shared_hbm",
            made.line,
        )
    if run.machine is None:
        return
    require_written(run.machine.memory, view, run.findings)


def require_written(memory: Memory, view: View, findings: Findings) -> None:
    """Report a result that was not wholly written.

    Raises:
        NkiValidationError: it was not, and that is an error.
    """
    made = view.allocation
    marks = memory.storage(made).marks(view)
    if marks is None or marks.all():
        return
    written = marks.all(-1) if marks.ndim > len(view.shape) else marks
    first = tuple(int(i) for i in np.unravel_index(written.argmin(), view.shape))
    missing = written.size - int(np.count_nonzero(written))
    findings.report(
        "output-not-written",
        f"{missing} of {written.size} elements of the result {made} were never "
        f"written, the first at {list(first)}",
        made.line,
        missing=missing,
        position=list(first),
    )
