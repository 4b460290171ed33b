"""Cores that run together: the two of a logical one, and those of several ranks.

They are cooperative threads (:mod:`nkipy_nki.cooperative`). Cores that share an HBM
have the same tensors in ``shared_hbm``, by the order in which they are made; all else
is each one's own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from nkipy_nki.cooperative import CooperativeThreads
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.memory import SharedTensor
from nkipy_nki.program import Allocation, Instruction, Line, View
from nkipy_nki.races import AccessHistory, SharedAccess
from nkipy_nki.regions import MemoryRegion

if TYPE_CHECKING:
    from nkipy_nki.machine import Machine

__all__ = ["Core", "CoreGroup", "SharedHbm", "run_cores"]

T = TypeVar("T")


class SharedHbm:
    """The tensors that cores share, in the order in which each of them makes them."""

    def __init__(self) -> None:
        self._tensors: list[SharedTensor] = []
        self._makers: list[str] = []

    def take(self, core: Core, made: Allocation) -> SharedTensor:
        """The tensor that is a core's next one.

        Raises:
            NkiValidationError: another core has made one of another shape or dtype.
        """
        number = core.shared_count
        core.shared_count += 1
        if number == len(self._tensors):
            self._tensors.append(SharedTensor(made))
            self._makers.append(core.name)
        tensor = self._tensors[number]
        first = tensor.allocation
        mine = made.shape, made.dtype.name, made.role
        if (first.shape, first.dtype.name, first.role) != mine:
            raise NkiValidationError(
                f"{core.name} makes {made} at {made.line} where {self._makers[number]} "
                f"makes {first} at {first.line}: cores must make the same tensors in "
                f"shared_hbm, in the same order\n  at {made.line}"
            )
        return tensor

    def require_all(self, core: Core) -> None:
        """Require that a core that ended has made all of the tensors.

        Raises:
            NkiValidationError: it has not.
        """
        if core.shared_count < len(self._tensors):
            first = self._tensors[core.shared_count].allocation
            raise NkiValidationError(
                f"{self._makers[core.shared_count]} makes {first} at {first.line}, and "
                f"{core.name} does not: cores must make the same tensors in "
                f"shared_hbm, in the same order\n  at {first.line}"
            )


@dataclass(eq=False)
class Core:
    """One of the cores that run together.

    Attributes:
        number: its place among all of them.
        rank: which rank it is of.
        core: which core of its logical one.
        group: all of them.
        shared: the tensors that it shares; None if it shares none.
        shared_count: how many of those it has made.
        clock: for each core, how much of what that did is known to have come before.
        line: of what it does, or did last.
    """

    number: int
    rank: int
    core: int
    group: CoreGroup
    shared: SharedHbm | None
    shared_count: int = 0
    clock: list[int] = field(default_factory=list)
    line: Line | None = None
    _tensors: dict[Allocation, SharedTensor] = field(default_factory=dict)
    _synchronizing: Instruction | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        parts = []
        if self.group.ranks > 1:
            parts.append(f"rank {self.rank}")
        if self.group.lnc > 1:
            parts.append(f"core {self.core}")
        return " ".join(parts) or "core 0"

    # -- tensors -----------------------------------------------------------------------
    def allocated(self, made: Allocation, machine: Machine | None) -> None:
        """Let a new tensor be the one that other cores have, if it is shared."""
        if self.shared is None or made.region is not MemoryRegion.shared_hbm:
            return
        tensor = self.shared.take(self, made)
        self._tensors[made] = tensor
        if machine is not None:
            machine.memory.adopt(made, tensor)

    def shared_tensor(self, allocation: Allocation) -> SharedTensor | None:
        """What other cores share of a tensor; None if it is this one's own."""
        return self._tensors.get(allocation)

    # -- accesses ----------------------------------------------------------------------
    def __call__(self, machine: Machine, instruction: Instruction) -> None:
        """Look at what an instruction accesses that was carried out."""
        self.line = instruction.line
        if instruction is self._synchronizing:
            return
        rules = instruction.record.operands
        for name, view in instruction.views():
            if view.allocation in self._tensors:
                rule = rules[name]
                for is_write in (False, True):
                    if rule.written if is_write else rule.read:
                        self.access(machine, instruction, name, view, is_write)

    def access(
        self,
        machine: Machine,
        instruction: Instruction,
        name: str,
        view: View,
        is_write: bool,
    ) -> None:
        """Note an access to a tensor, and report one that no rendezvous orders."""
        tensor = self._tensors.get(view.allocation)
        if tensor is not None and machine.findings.wants("core-race"):
            accesses = self.group.accesses.setdefault(tensor, AccessHistory())
            accesses.note(
                SharedAccess(self, machine, instruction, name, view, is_write)
            )

    def let_others_write(self, view: View) -> bool:
        """Let others run until they wait, if they share a tensor.

        What one of them writes then comes neither before nor after what this core does.

        Returns:
            Whether the tensor is shared.
        """
        if view.allocation not in self._tensors:
            return False
        self.group.threads.let_others(self.number)
        return True

    # -- rendezvous --------------------------------------------------------------------
    def enter(self, instruction: Instruction) -> None:
        """Carry out a synchronizing instruction, which notes what it accesses."""
        self._synchronizing = instruction
        self.line = instruction.line

    def rendezvous(
        self,
        instruction: Instruction,
        key: Hashable,
        members: Sequence[Core],
        offer: Any,
    ) -> dict[Core, Any]:
        """Wait for other cores: what they do afterwards comes after what this one did.

        Args:
            instruction: where the core is, see :meth:`enter`.
            key: which rendezvous it is.
            members: who must come, this one among them.
            offer: what this one brings.

        Returns:
            What each contributed.
        """
        self.enter(instruction)
        if len(members) == 1:
            return {self: offer}
        place = f"{instruction.record.name} at {instruction.line}"
        numbers = [member.number for member in members]
        contributions = self.group.threads.rendezvous(
            self.number, key, numbers, (list(self.clock), offer), place
        )
        for clock, _ in contributions.values():
            self.clock = list(map(max, self.clock, clock))
        self.clock[self.number] += 1
        cores = self.group.cores
        return {cores[number]: theirs for number, (_, theirs) in contributions.items()}


class CoreGroup:
    """The cores of a logical one, or of several ranks.

    Args:
        lnc: how many cores a logical one has.
        ranks: how many ranks there are, each a logical core.
        hbm_groups: which ranks share an HBM.
        shares: whether ranks of one core that share an HBM have the same tensors in
            ``shared_hbm``.
        order: round robin: their numbers; those of a rank's cores
            are side by side.

    Attributes:
        cores: all of them.
        threads: that run the cores.
        accesses: to shared tensors.

    Raises:
        ValueError: `order` does not have each number once.
    """

    def __init__(
        self,
        lnc: int,
        ranks: int = 1,
        hbm_groups: Sequence[Sequence[int]] = (),
        order: Sequence[int] | None = None,
        *,
        shares: bool = True,
    ) -> None:
        self.lnc = lnc
        self.ranks = ranks
        self.hbm_groups = tuple(tuple(group) for group in hbm_groups)
        self.accesses: dict[SharedTensor, AccessHistory] = {}
        shared = self._shared_by_rank(shares)
        self.cores = [
            Core(rank * lnc + core, rank, core, self, shared[rank])
            for rank in range(ranks)
            for core in range(lnc)
        ]
        for core in self.cores:
            core.clock = [int(other is core) for other in self.cores]
        self.threads = CooperativeThreads([core.name for core in self.cores], order)

    def _shared_by_rank(self, shares: bool) -> list[SharedHbm | None]:
        if self.lnc > 1:
            return [SharedHbm() for _ in range(self.ranks)]
        shared: list[SharedHbm | None] = [None] * self.ranks
        for group in self.hbm_groups if shares else ():
            one = SharedHbm()
            for rank in group:
                shared[rank] = one
        return shared

    def of_rank(self, rank: int) -> list[Core]:
        """The cores of a rank."""
        return self.cores[rank * self.lnc : (rank + 1) * self.lnc]

    def run(self, functions: Sequence[Callable[[], T]]) -> list[T]:
        """Run a function for each core, round robin.

        Raises:
            NkiValidationError: a core waits for one that does not come; or they make
                different tensors in ``shared_hbm``.
        """
        if len(functions) == 1:
            results = [functions[0]()]
        else:
            results = self.threads.run(functions, self._where)
        for core in self.cores:
            if core.shared is not None:
                core.shared.require_all(core)
        return results

    def _where(self, number: int) -> str:
        line = self.cores[number].line
        return f"after {line}" if line else ""


def run_cores(core: Core | None, functions: Sequence[Callable[[], T]]) -> list[T]:
    """Run functions for a core and those that run with it; without one, in order."""
    if core is None:
        return [function() for function in functions]
    return core.group.run(functions)
