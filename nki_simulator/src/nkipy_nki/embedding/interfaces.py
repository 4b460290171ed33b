"""What a program takes and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from nkipy.chips import find_chip
from nkipy_nki.collectives.groups import named_ranks
from nkipy_nki.dtypes import on_device
from nkipy_nki.errors import NkiProgramError
from nkipy_nki.program import Program
from nkipy_nki.wire import decode

__all__ = ["Interface", "decoded", "interface", "interface_of", "written_inputs"]


@dataclass(frozen=True)
class Interface:
    """What a program takes and gives.

    Attributes:
        chip: the target's name.
        generation: the target's.
        inputs: shape and element type of each.
        outputs: shape and element type of each.
        aliases: output to input: such an output is the input, updated in place.
        ranks: those that exchange something in it, by the lists that it names; None if
            each rank runs it alone.
        prints: whether it prints (``device_print``).
    """

    chip: str
    generation: int
    inputs: tuple[tuple[tuple[int, ...], np.dtype], ...]
    outputs: tuple[tuple[tuple[int, ...], np.dtype], ...]
    aliases: Mapping[int, int]
    ranks: tuple[tuple[int, ...], ...] | None = None
    prints: bool = False


@lru_cache(maxsize=16)
def decoded(program: bytes) -> tuple[Program, ...]:
    """The programs of the cores, as bytes have them.

    Raises:
        NkiProgramError: the bytes are no program.
    """
    return decode(program)


@lru_cache(maxsize=16)
def interface(program: bytes) -> Interface:
    """What a program takes and gives.

    Raises:
        NkiProgramError: the bytes are no program, or it writes to an input that it does
            not return.
    """
    return interface_of(decoded(program))


def interface_of(programs: Sequence[Program]) -> Interface:
    """What the programs of a kernel's cores take and give.

    Raises:
        NkiProgramError: an input is written and not returned, so that who calls would
            find it changed.
    """
    program = programs[0]
    for number in written_inputs(programs):
        raise NkiProgramError(
            f"the program writes to its input {program.allocations[number]}, and does "
            "not return it as a whole: an input that is updated is an output too"
        )
    chip = find_chip(program.chip)
    assert chip is not None
    places = {number: i for i, number in enumerate(program.inputs)}
    inputs = [program.allocations[number] for number in program.inputs]
    return Interface(
        chip.name,
        chip.generation,
        tuple((tuple(m.shape), on_device(m.dtype).outside) for m in inputs),
        tuple((tuple(v.shape), on_device(v.dtype).outside) for v in program.outputs),
        _aliases(program, places, _written(programs)),
        named_ranks(programs),
        any(
            i.record.name == "device_print" for p in programs for i in p.instructions()
        ),
    )


def _aliases(
    program: Program, places: Mapping[int, int], written: set[int]
) -> dict[int, int]:
    """Output to input, of the first output that each input is which is written."""
    aliases: dict[int, int] = {}
    for out, view in enumerate(program.outputs):
        i = places.get(view.allocation.id) if view.allocation.id in written else None
        if i is not None and view.is_whole and i not in aliases.values():
            aliases[out] = i
    return aliases


def written_inputs(programs: Sequence[Program]) -> list[int]:
    """The inputs that a core writes to and that are not returned.

    Their numbers are those of all cores, which make the same tensors first.
    """
    first = programs[0]
    returned = {view.allocation.id for view in first.outputs if view.is_whole}
    written = _written(programs)
    return [i for i in first.inputs if i in written - returned]


def _written(programs: Sequence[Program]) -> set[int]:
    """The tensors that a core writes to."""
    return {
        view.allocation.id
        for program in programs
        for instruction in program.instructions()
        for name, view in instruction.views()
        if instruction.record.operands[name].written
    }
