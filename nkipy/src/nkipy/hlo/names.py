"""The names that instructions and computations have in a proto and in text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from nkipy.hlo.instruction import HLOComputation, HLOInstruction
from nkipy.hlo.opcodes import OPCODES

#: The name of the root that the writer and the printer add to the entry.
ROOT_NAME = "result"


class Names:
    """Gives each instruction and computation of a module a name that no other has.

    Args:
        computations: all of the module's, the entry the last.

    Names are restricted to the characters of HLO's text form: XLA replaces others when
    it reads a proto, and refuses the module if two names become one. A given name is
    kept by whoever comes first, the entry's parameters before all (what they are really
    called is in a frontend attribute). The rest are ``<opcode>.<n>``.
    """

    def __init__(self, computations: Sequence[HLOComputation]) -> None:
        self._claims = _Claims()
        self._given: dict[HLOInstruction, str] = {}
        self._give(computations[-1].parameters)
        for computation in computations:
            named = [i for i in computation.instructions if i.name]
            self._give([i for i in named if i not in self._given])
        #: Whether a given name could be one of those that are made up.
        self.may_clash = any(map(_looks_made_up, self._claims.taken))
        claims = _Claims()
        self._computations = {c: claims.claim(identifier(c.name)) for c in computations}

    def _give(self, instructions: Sequence[HLOInstruction]) -> None:
        names = self._claims.claim_all([identifier(i.name) for i in instructions])
        self._given.update(zip(instructions, names))

    def of(self, inst: HLOInstruction, number: int) -> str:
        """The name of an instruction, which has this number in the module."""
        if inst.name:
            return self._given[inst]
        name = f"{inst.opcode}.{number}"
        return name if name not in self._claims.taken else self._claims.claim(name)

    def root(self) -> str:
        """The name of the root that is added."""
        return self._claims.claim(ROOT_NAME)

    def computation(self, computation: HLOComputation) -> str:
        """The name of a computation."""
        return self._computations[computation]


class _Claims:
    """Names that are taken; who comes late gets a number after the name."""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self._counts: dict[str, int] = {}

    def claim_all(self, names: Sequence[str]) -> Sequence[str]:
        """As many claims, in order; most names are as no other is."""
        fresh = set(names)
        if len(fresh) == len(names) and self.taken.isdisjoint(fresh):
            self.taken |= fresh
            return names
        return list(map(self.claim, names))

    def claim(self, name: str) -> str:
        unique = name
        while unique in self.taken:
            count = self._counts[name] = self._counts.get(name, 0) + 1
            unique = f"{name}.{count}"
        self.taken.add(unique)
        return unique


@lru_cache(maxsize=8192)
def _looks_made_up(name: str) -> bool:
    opcode, _, number = name.rpartition(".")
    return opcode in OPCODES and number.isdigit()


_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.\-]")
_ELEMENT_TYPE = re.compile(r"(pred|[suf]\d+|bf16|c\d+|f\d+e\d+m\d+\w*|opaque|token)$")


@lru_cache(maxsize=8192)
def identifier(name: str) -> str:
    """`name` with what HLO's text form does not allow in names replaced."""
    name = _NOT_IN_NAMES.sub("_", name)
    if not (name[:1].isalpha() or name[:1] == "_"):
        return f"_{name}"
    return f"{name}_" if _ELEMENT_TYPE.match(name) else name
