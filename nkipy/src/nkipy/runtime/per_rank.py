"""Arguments that differ between the ranks that one call runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nkipy.core.errors import NKIPyValueError
from nkipy.core.tree import map_tree, path_name

Call = tuple[tuple[Any, ...], dict[str, Any]]


class PerRank:
    """An argument, or a leaf of one, that differs between ranks: one value for each.

    Args:
        values: as many values (arrays, or trees of arrays) as there are ranks, all of
            one shape and dtype.
    """

    __slots__ = ("values",)

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = tuple(values)


def select_rank(call: Call, rank: int, world_size: int) -> Call:
    """The arguments of one rank.

    Raises:
        NKIPyValueError: a :class:`PerRank` has another number of values.
    """

    def pick(path: Any, leaf: Any) -> Any:
        if not isinstance(leaf, PerRank):
            return leaf
        if len(leaf.values) != world_size:
            raise NKIPyValueError(
                f"argument {path_name(path)}: {len(leaf.values)} values for "
                f"{world_size} ranks"
            )
        return leaf.values[rank]

    args, kwargs = call
    return map_tree(pick, args), map_tree(pick, kwargs)


def refuse_per_rank(call: Call) -> None:
    """Refuse a :class:`PerRank` in a call of one rank. Raises NKIPyValueError."""

    def refuse(path: Any, leaf: Any) -> Any:
        if isinstance(leaf, PerRank):
            raise NKIPyValueError(
                f"argument {path_name(path)} is a PerRank of {len(leaf.values)} values,"
                " but the call runs one rank; simulate_jit(world_size="
                f"{len(leaf.values)}) runs as many, and where ranks are processes,"
                " each passes the value of its own"
            )
        return leaf

    for part in call:
        map_tree(refuse, part)
