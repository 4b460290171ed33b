"""``nki.simulate_ranks``: runs a kernel on several ranks, which exchange tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.arguments import (
    Arguments,
    WrongCallError,
    as_numpy,
    share_memory,
)
from nkipy_nki.collectives.rendezvous import SHARED_VARIABLE
from nkipy_nki.cores import CoreGroup
from nkipy_nki.flags import flag
from nkipy_nki.kernel import Kernel
from nkipy_nki.running import telling_caller
from nkipy_nki.simulation import Simulation, Simulator, configured_cores, launch
from nkipy_nki.targets import target_chip

__all__ = ["simulate_ranks"]


def simulate_ranks(
    kernel: Callable[..., Any],
    args_per_rank: Sequence[Sequence[Any]],
    *,
    kwargs_per_rank: Sequence[Mapping[str, Any]] | None = None,
    hbm_groups: Sequence[Sequence[int]] = (),
    target: str | Chip | None = None,
    findings: Mapping[str, str] | None = None,
    order: Sequence[int] | None = None,
) -> list[Simulation]:
    """Run a kernel on several ranks in this process.

    The ranks take turns: one runs at a time, until it waits for others in a function of
    ``nki.collectives``. The results do not depend on time::

        group = ReplicaGroup([[0, 1]])
        ran = nki.simulate_ranks(kernel, [(x0, group), (x1, group)])
        y0, y1 = (rank.values for rank in ran)

    Args:
        kernel: a kernel, ``kernel[2]`` for ranks of two cores, or a plain function.
        args_per_rank: the arguments of each rank; there are as many ranks.
        kwargs_per_rank: arguments by name of each rank; None for none.
        hbm_groups: which ranks share an HBM, as in ``[[0, 1], [2, 3]]``; a rank that is
            not named has one of its own. Ranks of one core that share one can meet in
            ``nisa.core_barrier``. If ``NKI_LNC1_SHARED_HBM`` is 1, their tensors in
            ``shared_hbm`` are the same, results among them. The two cores of a rank
            share theirs in any case.
        target: the chip, such as ``"trn2"`` or ``"gen3"``.
        findings: levels (``"error"``, ``"warning"``, ``"off"``) of kinds of findings.
        order: in which the cores take turns: all of their numbers, those of rank 0
            first. None is that order. A kernel without races gives the same in any.

    Returns:
        What each rank gave: its results are ``values``.

    Raises:
        NkiValidationError: the kernel does what is not allowed, a rank waits for one
            that does not come, or several write to one array of the caller's; it says
            which rank it is.
        ValueError: the arguments above do not fit each other.
    """
    function, lnc = kernel, None
    if isinstance(kernel, Kernel):
        function, lnc = kernel.func, kernel.lnc
    lnc = lnc or configured_cores()
    chip = target_chip(target)
    count = len(args_per_rank)
    kwargs = [{}] * count if kwargs_per_rank is None else kwargs_per_rank
    if not count or len(kwargs) != count:
        raise ValueError(
            f"args_per_rank is of {count} ranks, and kwargs_per_rank of {len(kwargs)}"
        )
    _require_groups(hbm_groups, count, chip.cores_per_hbm // lnc)
    shares = lnc == 1 and flag(SHARED_VARIABLE, False)
    group = CoreGroup(lnc, count, hbm_groups, order, shares=shares)
    simulator = Simulator(function, lnc, chip, findings)
    with simulator.finding() as found:
        with telling_caller(WrongCallError):
            arguments = [
                Arguments(function, tuple(args), named)
                for args, named in zip(args_per_rank, kwargs)
            ]
        _part_what_is_shared(arguments)
        return launch(simulator, found, arguments, group)


def _require_groups(groups: Sequence[Sequence[int]], count: int, most: int) -> None:
    named = [rank for group in groups for rank in group]
    if sorted(named) != sorted(set(named) & set(range(count))):
        raise ValueError(
            f"hbm_groups is {groups}: each of {count} ranks may be there once"
        )
    for group in groups:
        if len(group) > max(1, most):
            raise ValueError(
                f"hbm_groups has {group}, and an HBM is of {max(1, most)} ranks"
            )


def _part_what_is_shared(arguments: Sequence[Arguments]) -> None:
    """Give each rank memory of its own; of several, only the first may write to it."""
    seen: list[tuple[str, Any, np.ndarray]] = []
    for rank, given in enumerate(arguments):
        mine = [(one, as_numpy(one.given, one.name)) for one in given.arrays]
        for one, array in mine:
            for name, given_there, other in seen:
                if share_memory(one.given, array, given_there, other):
                    one.shares.append(name)
                    one.array = one.array.copy()
                    break
        seen += [
            (f"{one.name} of rank {rank}", one.given, array) for one, array in mine
        ]
