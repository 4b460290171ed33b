"""Rules of collectives: which tensors they take, and of which shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nkipy.chips import Chip
from nkipy_nki.program import Instruction
from nkipy_nki.records import Rule

__all__ = [
    "fits",
    "in_order",
    "on_hbm",
    "one_tensor",
    "priority_of_gen4",
    "tensors",
]


def in_order(*rules: Rule) -> Rule:
    """A rule: the first problem of these, of which each relies on those before."""

    def rule(made: Instruction, chip: Chip) -> str | None:
        return next(filter(None, (one(made, chip) for one in rules)), None)

    return rule


def tensors(*names: str) -> Rule:
    """A rule: these operands are lists of as many tensors, as collectives take them.

    The first are sources, the last is of targets.
    """

    def rule(made: Instruction, chip: Chip) -> str | None:
        lists = {name: made.operands[name] for name in names}
        for name, views in lists.items():
            if not isinstance(views, tuple) or not views:
                return f"{name} is {views!r}, and must be a list of tensors"
        if len({len(views) for views in lists.values()}) > 1:
            counts = ", ".join(f"{n} has {len(views)}" for n, views in lists.items())
            return f"{counts} tensors: they must have as many"
        return (
            _of_a_kernels_own(lists) or _in_one_memory(lists) or _of_equal_types(lists)
        )

    return rule


def _of_a_kernels_own(lists: dict[str, Any]) -> str | None:
    for name in list(lists)[:-1]:
        for view in lists[name]:
            if view.allocation.role == "input":
                return (
                    f"{name} has {view.allocation}, an argument of the kernel: copy it "
                    "to a tensor that the kernel makes, and send that"
                )
    for name, views in lists.items():
        for view in views:
            if view.dynamic is not None:
                return f"{name} has a view whose index only the run knows"
    return None


def _in_one_memory(lists: dict[str, Any]) -> str | None:
    regions = {n: {v.region for v in views} for n, views in lists.items()}
    for name, found in regions.items():
        if len(found) > 1:
            names = " and ".join(sorted(region.value for region in found))
            return f"{name} are in {names}: they must be in one memory"
    on_chip = {next(iter(found)).is_on_chip for found in regions.values()}
    if len(on_chip) > 1:
        return "some tensors are in SBUF and some in HBM: all must be in one of them"
    if on_chip == {False}:
        return None
    for name, views in lists.items():
        if len(views) > 1:
            return f"{name} has {len(views)} tensors, and may have one in SBUF"
        if len(views[0].shape) != 2:
            return f"{name} has the shape {list(views[0].shape)}, and must have 2 dims"
    return None


def _of_equal_types(lists: dict[str, Any]) -> str | None:
    for views in zip(*lists.values()):
        dtypes = [view.dtype.name for view in views]
        if len(set(dtypes)) > 1:
            found = ", ".join(f"{n} {d}" for n, d in zip(lists, dtypes))
            return f"element types differ ({found}): they must be equal"
    return None


def on_hbm(made: Instruction, chip: Chip) -> str | None:
    """A rule: the tensors are in HBM."""
    for name, view in made.views():
        if view.region.is_on_chip and name != "metadata_tensor":
            return f"{name} is in {view.region.value}, and must be in HBM"
    return None


def one_tensor(made: Instruction, chip: Chip) -> str | None:
    """A rule: lists are of one tensor."""
    for name, operand in made.operands.items():
        if isinstance(operand, tuple) and len(operand) != 1:
            return f"{name} has {len(operand)} tensors, and must have one"
    return None


def priority_of_gen4(made: Instruction, chip: Chip) -> str | None:
    """A rule: a priority is 0 to 3, and of gen4."""
    priority = made.attributes["priority"]
    if priority is None:
        return None
    if type(priority) is not int or not 0 <= priority <= 3:
        return f"priority is {priority!r}, and may be 0 to 3"
    if chip.generation < 4:
        return f"priority is of gen4 and later, and the target is {chip.nki_name}"
    return None


def fits(shape: Callable[[tuple[int, ...], int, int], Any]) -> Rule:
    """A rule: a target's shape is what `shape` gives.

    Args:
        shape: of a source's shape, how many ranks a list has, and `collective_dim` (0
            if there is none): a shape, or what is wrong.
    """

    def rule(made: Instruction, chip: Chip) -> str | None:
        count = len(made.attributes["replica_group"][0])
        dim = made.attributes.get("collective_dim", 0)
        for src, dst in zip(made.operands["srcs"], made.operands["dsts"]):
            on_chip = src.region.is_on_chip
            most = 1 if on_chip and made.record.name == "all_gather" else 0
            if type(dim) is not int or not 0 <= dim <= most:
                return f"collective_dim is {dim!r}, and may be 0{' or 1' * most} here"
            wanted = shape(tuple(src.shape), count, dim)
            if isinstance(wanted, str):
                return wanted
            if tuple(dst.shape) != wanted:
                return (
                    f"dsts has the shape {list(dst.shape)}, and must have "
                    f"{list(wanted)} for {list(src.shape)} of {count} ranks"
                )
        return None

    return rule
