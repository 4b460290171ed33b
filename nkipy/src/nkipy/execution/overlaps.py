"""Memory of a call's results, which nothing else of the call may share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from nkipy.execution.errors import BindingError

_FED_BACK = (
    "it is the result of an earlier call, which this one would overwrite while it "
    "reads it: bind with fresh_outputs=True, have the result alias the parameter, or "
    "pass a copy"
)

#: First address of an array, and the one after its last.
Extent = tuple[int, int]


def refuse_overlaps(
    inputs: Sequence[Extent],
    outputs: Sequence[Extent],
    aliases: Mapping[int, int],
    names: Sequence[str],
    own: Collection[int] = (),
) -> None:
    """Refuse that what is written shares memory with what else is there.

    Args:
        inputs, outputs: where the parameters and results lie.
        aliases: by place, the results that are written into a parameter, and that one.
        names: of the parameters, and of the results after them.
        own: by place, the results whose memory is the call's own, which each call
            overwrites.

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
                advice = "give one of them memory of its own"
                if j < len(inputs) and i - len(inputs) in own:
                    advice = _FED_BACK
                raise BindingError(
                    f"result '{names[i]}' is written into memory that is "
                    f"'{names[j]}' too; {advice}"
                )


def _overlap(one: Extent, other: Extent) -> bool:
    return max(one[0], other[0]) < min(one[1], other[1])
