"""What is recorded of an instruction: one record, which everything reads.

A record is made by :func:`~nkipy_nki.declaring.instruction` from a function whose
signature and docstring are those of the language, and whose body is not run::

    @instruction(
        Engine.vector,
        dst=writes(ON_CHIP),
        data=reads(ON_CHIP),
        rules=[same_partitions, same_elements],
        meaning=_reciprocal,
        cost=...,
        samples=...,
        refused=...,
    )
    def reciprocal(dst, data, name=None):
        \"\"\"...\"\"\"

A parameter that is named among the operands is one; all others are attributes.
"""

from __future__ import annotations

import inspect
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from nkipy.chips import Chip, find_chip
from nkipy_nki.dtypes import find_dtype
from nkipy_nki.engines import Engine
from nkipy_nki.geometry import PARTITIONS
from nkipy_nki.regions import ON_CHIP, MemoryRegion

#: A condition on an :class:`~nkipy_nki.program.Instruction` for a
#: :class:`~nkipy.chips.Chip`: what is wrong, or None. It goes by numbers, attributes
#: and the form of views: region, role, element type, shape and strides; the first
#: partition, and in the PSUM the offset. So it is asked once for each form.
Rule: TypeAlias = Callable[[Any, Any], "str | None"]
#: What an instruction does with a :class:`~nkipy_nki.calls.Call`.
Meaning: TypeAlias = Callable[[Any], None]
#: Cycles of an instruction on a chip.
Cost: TypeAlias = Callable[[Any, Any], float]
#: Ns of a transfer on a chip, by those of a copy of its bytes within the core.
TransferTime: TypeAlias = Callable[[Any, Any, float], float]
#: Which engine carries out an instruction on a chip.
Choice: TypeAlias = Callable[[Any, Any], Engine]


@dataclass(frozen=True)
class OperandRule:
    """What an operand may be.

    Attributes:
        read: its elements are read, and must have been written.
        written: its elements are written.
        regions: where it may lie.
        dtypes: names of the element types that it may have; empty if any.
        scalar: it may be a number (for a register, `register`).
        register: it may be a register.
        vector: it may be one element for each partition, ``[P, 1]``.
        several: it is a list of tensors.
        optional: it may be None.
        partitions: at most so many, on the chip.
        dims: at most so many dimensions, on the chip; 0 if any.
        strides: on the chip, how many its access can have beside that of partitions,
            where those that follow each other are one. Documents give three to most
            instructions, and four to what memories can do.
        aligned: on the chip, it begins at a partition that engines can begin at.
    """

    read: bool = False
    written: bool = False
    regions: Collection[MemoryRegion] = ON_CHIP
    dtypes: tuple[str, ...] = ()
    scalar: bool = False
    register: bool = False
    vector: bool = False
    several: bool = False
    optional: bool = False
    partitions: int = PARTITIONS
    dims: int = 0
    strides: int = 3
    aligned: bool = True

    @property
    def wanted(self) -> str:
        """What it must be, in words."""
        kinds = {
            "a tensor": bool(self.regions),
            "a number": self.scalar,
            "a register": self.register,
        }
        return " or ".join(kind for kind, fits in kinds.items() if fits)


def reads(
    regions: Collection[MemoryRegion] = ON_CHIP, *dtypes: str, **others: Any
) -> OperandRule:
    """An operand that is read."""
    return OperandRule(read=True, regions=regions, dtypes=dtypes, **others)


def writes(
    regions: Collection[MemoryRegion] = ON_CHIP, *dtypes: str, **others: Any
) -> OperandRule:
    """An operand that is written."""
    return OperandRule(written=True, regions=regions, dtypes=dtypes, **others)


@dataclass(frozen=True)
class OperationRule:
    """Which operation an attribute may name.

    Attributes:
        kinds: of ``operators.KINDS``: it is of one of them.
        arity: how many operands it takes; 0 if any number.
        names: those that it may be; empty if all of the kinds.
        reduces: it reduces.
        optional: it may be None.
    """

    kinds: tuple[str, ...] = ("arithmetic",)
    arity: int = 0
    names: frozenset[str] = frozenset()
    reduces: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Held:
    """A register to try an instruction with.

    Attributes:
        value: what it holds; None if it was never set.
        dtype: ``"int32"`` or ``"int64"``.
    """

    value: int | None = None
    dtype: str = "int32"


@dataclass(frozen=True, eq=False)
class Sample:
    """Operands to try an instruction with.

    Attributes:
        operands: by name: an array to read (with `regions`, where it lies), a number,
            or a register (:class:`Held`). Of those that are written, a shape and a
            dtype; or an array, if what was there before matters. A list of tensors is
            a list of those.
        attributes: by name.
        regions: of operands that are not in the SBUF.
        chip: the target; if it is "", trn2, or trn3 for element types that only it has.
        label: what it shows.
        message: of a sample that must be refused: part of what is said.
        dtypes: of operands, where NumPy's dtype does not tell it, as of packed ones.
        others: of an instruction where cores meet, what the other cores give: those of
            a rank are side by side.
        lnc: how many cores a rank has.
        after: the name of an instruction that is carried out with all of this first.
        dense: tensors must lie side by side: no views with strides are tried.
    """

    operands: Mapping[str, Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    regions: Mapping[str, MemoryRegion] = field(default_factory=dict)
    chip: str = ""
    label: str = ""
    message: str = ""
    dtypes: Mapping[str, str] = field(default_factory=dict)
    others: Sequence[Sample] = ()
    lnc: int = 1
    after: str = ""
    dense: bool = False

    @property
    def target(self) -> Chip:
        """The chip that it is for.

        Raises:
            ValueError: there is no such chip, or none that has the element types.
        """
        dtypes = [find_dtype(name, is_scalar=True) for name in self._dtype_names()]
        for name in (self.chip,) if self.chip else ("trn2", "trn3"):
            chip = find_chip(name)
            fits = chip and all(dtype.is_of(chip.generation) for dtype in dtypes)
            if chip is not None and (self.chip or fits):
                return chip
        raise ValueError(f"no chip is called {self.chip!r}, or has {dtypes}")

    def _dtype_names(self) -> Iterator[Any]:
        for name, given in self.operands.items():
            for part in given if isinstance(given, list) else [given]:
                if isinstance(part, tuple):
                    yield part[1]
                elif isinstance(part, np.ndarray):
                    yield self.dtypes.get(name, part.dtype)


#: Makes the samples of an instruction.
Samples: TypeAlias = Callable[[], Iterable[Sample]]


@dataclass(frozen=True, eq=False)
class InstructionRecord:
    """An instruction of the language.

    Attributes:
        name: its name in ``nki.isa``.
        engines: those that can carry it out, the one that does unless told first; or
            a function that says which does.
        operands: what each operand may be, by name, in the order of the signature.
        operations: which attributes are operations, and what each may be. A program
            has their names.
        signature: that of the public function.
        doc: its description.
        module: the chapter that it is in.
        rules: further conditions, over several operands or attributes.
        meaning: what it does.
        cost: cycles that it keeps its engine, without what each instruction of the
            engine has beside that. Of a transfer: how many times as long as a plain
            copy of its bytes it takes, 1.0 for most; ``timing`` knows the bytes from
            the views. It looks at no more of operands than rules may: not at where in
            a partition, or in the HBM, they lie.
        transfer_ns: of a transfer that is more than a copy within the core: ns from its
            start to its end, by those that such a copy takes.
        samples: operands to try it with.
        refused: operands that must be refused.
        since: the first generation that has it.
        until: the last one, if any.
    """

    name: str
    engines: tuple[Engine, ...]
    choose_engine: Choice | None
    operands: Mapping[str, OperandRule]
    operations: Mapping[str, OperationRule]
    signature: inspect.Signature
    doc: str
    rules: tuple[Rule, ...]
    meaning: Meaning
    cost: Cost
    samples: Samples
    refused: Samples
    transfer_ns: TransferTime | None = None
    since: int = 2
    until: int | None = None
    module: str = ""

    @cached_property
    def flags(self) -> tuple[str, ...]:
        """The attributes that are truth values, or None if that is their default."""
        return tuple(
            name
            for name, parameter in self.signature.parameters.items()
            if str(parameter.annotation).startswith("bool")
        )

    def __repr__(self) -> str:
        return f"<record of {self.name}>"


#: Every instruction, by name. :func:`instruction` adds to it; nothing else may.
INSTRUCTIONS: dict[str, InstructionRecord] = {}
