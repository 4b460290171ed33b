"""Custom calls in which ranks exchange something: the first rank runs them for all.

The operands of all ranks are gathered on each; the first rank runs the call, and each
takes its own results. So no Python function waits for another one, and what fails on
the first rank fails the execution of all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.custom_calls import CustomCall, shapes_of
from nkipy.hlo.dtypes import uint32
from nkipy.hlo.ir import HLOInstruction, Shape
from nkipy.hlo.rewrites.base import element
from nkipy_emulator.call_sites import CallSite, Handler

Value = HLOInstruction
_RANK = Shape(uint32, ())


def ranked_site(record: CustomCall, site: CallSite, ranks: int) -> CallSite:
    """The site of a call that is run for all ranks, each a row of the arrays.

    The last operand is the rank that runs it.
    """
    assert record.ranked is not None
    return site._replace(
        handler=_on_first_rank(record.ranked.run),
        inputs=(*(_rows(shape, ranks) for shape in site.inputs), _RANK),
        outputs=tuple(_rows(shape, ranks) for shape in site.outputs),
    )


def _rows(shape: Shape, ranks: int) -> Shape:
    return Shape(shape.dtype, (ranks, *shape.dims))


def _on_first_rank(run: Handler) -> Handler:
    def handler(
        inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], config: bytes
    ) -> None:
        *arrays, rank = inputs
        if rank == 0:
            run(arrays, outputs, config)

    return handler


def gathered(
    operands: Sequence[Value], ranks: int, builder: HLOBuilder
) -> tuple[Value, ...]:
    """The operands of all ranks, a row each, and which rank this is."""
    rows = [_all_gather(operand, ranks, builder) for operand in operands]
    return (*rows, builder.emit("replica-id", (), (), uint32))


def _all_gather(x: Value, ranks: int, b: HLOBuilder) -> Value:
    row = b.reshape(x, (1, *x.shape))
    attributes = {"replica_groups": (tuple(range(ranks)),), "dimensions": (0,)}
    return b.emit("all-gather", (row,), (ranks, *x.shape), x.dtype, attributes)


def own_result(made: Value, ranks: int, builder: HLOBuilder) -> Value:
    """Of results that the first rank has for all, this rank's."""
    shapes = shapes_of(made)
    if made.tuple_shapes is None:
        return _row_of_first(made, ranks, builder)
    parts = [element(builder, made, i) for i in range(len(shapes))]
    rows = tuple(_row_of_first(part, ranks, builder) for part in parts)
    own = tuple(Shape(row.dtype, row.shape) for row in rows)
    return builder.emit("tuple", rows, (), None, tuple_shapes=own)


def _row_of_first(x: Value, ranks: int, b: HLOBuilder) -> Value:
    """Each rank's row of what the first one has."""
    attributes = {"replica_groups": (tuple(range(ranks)),), "dimensions": (0,)}
    received = b.emit("all-to-all", (x,), x.shape, x.dtype, attributes)
    return b.reshape(b.slice_dim(received, 0, 0, 1), x.shape[1:])
