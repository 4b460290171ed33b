"""Programs that are NumPy's functions of whole arrays, and nothing else.

They need no XLA: NumPy's inner loops run in the calling thread, and in others where the
arrays are large (``element_program.h``), which saves some microseconds of each call,
and the compilation. Results are NumPy's own, bit by bit, those of compositions too.

Programs that may take long are left to XLA's way, on which what runs can be left
behind at a signal or a deadline.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from nkipy.hlo import dtypes as dt
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.rewrites.base import literal_below
from nkipy_emulator import _xla
from nkipy_emulator.fast_calls import ALONE, table
from nkipy_emulator.function_calls import element_calls

Value = HLOInstruction
#: Elements that the functions of such a program compute: a hundredth of a second's work
#: for vector loops, a twentieth for slow ones.
_MOST_ELEMENTS = 1 << 20
#: A longer program has something else in it.
_MOST_INSTRUCTIONS = 256


class ElementProgram(NamedTuple):
    """What ``element_program.h`` reads.

    Attributes:
        elements: how many each array has.
        threads: how many may work on them.
        inputs: how many arrays it gets.
        constants: numbers, the same for all elements.
        steps: a function of NumPy's, and the numbers of its operands: of inputs, then
            of constants, then of earlier steps.
        results: the numbers of the steps that compute the results.
    """

    elements: int
    threads: int
    inputs: int
    constants: tuple[float, ...]
    steps: tuple[tuple[str, tuple[int, ...]], ...]
    results: tuple[int, ...]


def element_program(module: HLOModule) -> ElementProgram | None:
    """`module` as such a program; None if it is another one, or may take long.

    Whether XLA's code would be faster is for :func:`is_faster` to say.
    """
    results = tuple(module.results)
    if not results or len(set(results)) < len(results):
        return None
    if len(module.entry.instructions) > _MOST_INSTRUCTIONS:
        return None
    shape = results[0].shape
    arrays = (*results, *module.parameters)  # of which some may not be read
    if any(a.shape != shape or a.dtype != dt.float32 for a in arrays):
        return None
    found = _Steps(module, shape)
    if not all(map(found.add, results)):
        return None
    count = prod(shape)
    if not count or count * len(found.steps) > _MOST_ELEMENTS:
        return None
    return found.program(count, results)


def is_faster(program: ElementProgram) -> bool:
    """Whether the table has all of its functions, for arrays as large as these."""
    found = [table().get(name, {}).get(ALONE) for name, _ in program.steps]
    return all(least is not None and program.elements >= least for least in found)


class _Steps:
    """The functions that results are computed by, operands first."""

    def __init__(self, module: HLOModule, shape: tuple[int, ...]) -> None:
        self._parameters = module.parameters
        self._shape = shape
        self._calls = element_calls(module)
        self._constants: dict[Value, float] = {}
        self.steps: list[Value] = []

    def add(self, value: Value) -> bool:
        """Whether `value` is one of those, or what they begin with."""
        if value in self.steps or value in self._constants:
            return True
        if value in self._parameters:
            return True
        call = self._calls.get(value)
        if call is None:
            return self._add_constant(value)
        if value.shape != self._shape or not all(map(self.add, call.operands)):
            return False
        if call.function == "power" and call.operands[1] in self._constants:
            return False  # NumPy's takes the root for a repeated exponent 0.5
        self.steps.append(value)
        return True

    def _add_constant(self, value: Value) -> bool:
        literal = literal_below(value)
        if literal is None or literal.size != 1 or literal.dtype != dt.float32:
            return False
        self._constants[value] = float(literal.reshape(())[()])
        return True

    def program(self, count: int, results: tuple[Value, ...]) -> ElementProgram | None:
        if not all(result in self.steps for result in results):
            return None
        values = [*self._parameters, *self._constants, *self.steps]
        number = {value: i for i, value in enumerate(values)}
        return ElementProgram(
            count,
            _xla.cores(),
            len(self._parameters),
            tuple(self._constants.values()),
            tuple(
                (call.function, tuple(number[x] for x in call.operands))
                for call in (self._calls[step] for step in self.steps)
            ),
            tuple(map(self.steps.index, results)),
        )
