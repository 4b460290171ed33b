"""The names that instructions have in a proto and in text."""

from __future__ import annotations

import re
from typing import Container, Sequence

from nkipy.core.hlo.ir import HLOComputation, HLOInstruction, HLOModule

#: The name of the root that the writer and the printer add to the entry.
ROOT_NAME = "result"


class Names:
    """Gives each instruction of a module a name that no other has.

    A given name is kept by whoever comes first, the entry's parameters (whose names are
    the module's interface) before all. The rest are ``<opcode>.<n>``.
    """

    def __init__(
        self, module: HLOModule, computations: Sequence[HLOComputation]
    ) -> None:
        self._owner: dict[str, HLOInstruction] = {}
        for inst in module.parameters:
            self._owner.setdefault(inst.name, inst)
        for computation in computations:
            for inst in computation.instructions:
                if inst.name:
                    self._owner.setdefault(inst.name, inst)

    def of(self, inst: HLOInstruction, number: int) -> str:
        """The name of the instruction that has this number in the module."""
        name = inst.name or f"{inst.opcode}.{number}"
        if self._owner.get(name, inst) is inst:
            return name
        return free_name(f"{name}.{number}", self._owner)


def free_name(name: str, taken: Container[str]) -> str:
    """`name`, with underscores after it as long as it is taken."""
    while name in taken:
        name += "_"
    return name


_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.\-]")


def identifier(name: str) -> str:
    """`name` with what HLO's text form does not allow in names replaced."""
    name = _NOT_IN_NAMES.sub("_", name)
    return name if name[:1].isalpha() or name[:1] == "_" else f"_{name}"
