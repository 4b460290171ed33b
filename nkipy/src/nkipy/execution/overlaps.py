"""Memory of a call's results, which nothing else of the call may share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nkipy.execution.errors import BindingError

#: First address of an array, and the one after its last.
Extent = tuple[int, int]


def refuse_overlaps(
    inputs: Sequence[Extent],
    outputs: Sequence[Extent],
    aliases: Mapping[int, int],
    names: Sequence[str],
) -> None:
    """Refuse that what is written shares memory with what else is there.

    Args:
        inputs, outputs: where the parameters and results lie.
        aliases: by place, the results that are written into a parameter, and that one.
        names: of the parameters, and of the results after them.

    Raises:
        BindingError: two arrays of which one is written overlap.
    """
    extents = (*inputs, *outputs)
    # A number for each array; a result that aliases a parameter has that one's.
    arrays = [
        *range(len(inputs)),
        *(aliases.get(i, -1 - i) for i in range(len(outputs))),
    ]
    for i, written in enumerate(arrays[len(inputs) :], len(inputs)):
        for j, (array, other) in enumerate(zip(arrays, extents)):
            if array != written and _overlap(extents[i], other):
                raise BindingError(
                    f"result '{names[i]}' is written into memory that is "
                    f"'{names[j]}' too; give one of them memory of its own"
                )


def _overlap(one: Extent, other: Extent) -> bool:
    return max(one[0], other[0]) < min(one[1], other[1])
