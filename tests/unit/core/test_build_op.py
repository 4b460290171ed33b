"""``build_op``: attributes by the names that clients have for them, given and shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nkipy.core.backend.hlo import HLOTraceContext, get_hlo_context
from nkipy.core.ops._registry import Op
from nkipy.core.tensor import NKIPyTensorRef
from nkipy.core.trace import NKIPyKernel
from nkipy.hlo.errors import HLOVerificationError
from nkipy.hlo.ir import HLOComputation, HLOModule
from nkipy.hlo.opcodes import OPCODES
from nkipy.testing import check_kernel

F32 = np.dtype(np.float32)
X = np.arange(12, dtype=F32).reshape(3, 4)


def built(
    opcode: str, shape: tuple[int, ...], attributes: dict[str, Any], dtype: Any = F32
) -> Op:
    """An op that is one instruction."""
    op = Op(opcode, register=False)

    @op.impl("hlo")
    def _op(*operands: NKIPyTensorRef) -> NKIPyTensorRef:
        values = [x.backend_tensor for x in operands]
        ctx = get_hlo_context()
        return NKIPyTensorRef(ctx.build_op(opcode, values, shape, dtype, attributes))

    return op


CASES = {
    "transpose": ((4, 3), {"permutation": [1, 0]}, np.transpose),
    "broadcast": (
        (2, 3, 4),
        {"broadcast_dimensions": [1, 2]},
        lambda x: np.broadcast_to(x, (2, 3, 4)),
    ),
    "slice": (
        (2, 2),
        {"start_indices": [0, 1], "limit_indices": [3, 4], "strides": [2, 2]},
        lambda x: x[0:3:2, 1:4:2],
    ),
    "concatenate": (
        (3, 8),
        {"dimension": np.int64(1)},
        lambda x: np.concatenate([x, x], axis=1),
    ),
    "compare": ((3, 4), {"comparison_direction": "LT"}, lambda x: x < x),
    "dot": (
        (3, 3),
        {"lhs_contracting_dimensions": [1], "rhs_contracting_dimensions": [1]},
        lambda x: x @ x.T,
    ),
    "iota": (
        (3, 4),
        {"iota_dimension": 1},
        lambda: np.broadcast_to(np.arange(4, dtype=F32), (3, 4)),
    ),
    "constant": ((2, 3), {"value": 2.5}, lambda: np.full((2, 3), 2.5, F32)),
}
OPERANDS = {"concatenate": 2, "compare": 2, "dot": 2, "iota": 0, "constant": 0}


@pytest.mark.parametrize("opcode", CASES)
def test_an_op_of_clients_names_computes_what_numpy_does(opcode):
    shape, attributes, expected = CASES[opcode]
    dtype = np.bool_ if opcode == "compare" else F32
    op, count = built(opcode, shape, attributes, dtype), OPERANDS.get(opcode, 1)

    def kernel(x):
        return op(*(x,) * count), x + 1

    def reference(x):
        return expected(*(x,) if count else ()), x + 1

    check_kernel(kernel, X, reference=reference)


@pytest.mark.parametrize("opcode", CASES)
def test_they_are_shown_in_the_ir(opcode):
    shape, attributes, _ = CASES[opcode]
    op, count = built(opcode, shape, attributes), OPERANDS.get(opcode, 1)
    if opcode == "compare":
        op = built(opcode, shape, attributes, np.bool_)
    ir = NKIPyKernel.trace(lambda x: op(*(x,) * count)).specialize(X)
    assert ir is not None
    (inst,) = [i for i in ir.operations if i.op_name == opcode]
    for name, given in attributes.items():
        assert name in inst.attributes
        shown = inst.attributes[name]
        assert np.all(np.asarray(shown) == np.asarray(given))
        assert np.all(inst.attributes.get(name) == shown)
    assert "no_such_name" not in inst.attributes
    assert inst.attributes.get("no_such_name", 7) == 7
    with pytest.raises(KeyError, match="no_such_name"):
        inst.attributes["no_such_name"]


def by_hand() -> tuple[HLOTraceContext, Any]:
    module = HLOModule("m")
    return HLOTraceContext(module), module.add_parameter((4, 6), F32, "x")


def adder(ctx: HLOTraceContext) -> HLOComputation:
    return ctx.reducer("add", F32)


def test_parts_of_a_window_and_dimensions_of_collectives():
    ctx, x = by_hand()
    zero = ctx.scalar(0, F32)
    sums = ctx.build_op(
        op_name="reduce-window",
        operands=[x, zero],
        result_shape=(2, 3),
        result_dtype="float32",
        attributes={
            "window_dimensions": [2, 2],
            "window_strides": [2, 2],
            "to_apply": adder(ctx),
        },
    )
    groups = [[0, 1]]
    gathered = ctx.build_op(
        "all-gather", [x], (8, 6), F32, {"all_gather_dim": 0, "replica_groups": groups}
    )
    parts = {"reduce_scatter_dim": 1, "replica_groups": groups, "to_apply": adder(ctx)}
    scattered = ctx.build_op("reduce-scatter", [x], (4, 3), F32, parts)
    swapped = ctx.build_op(
        "all-to-all", [x], (4, 6), F32, {"split_dimension": 0, "replica_groups": groups}
    )
    padded = ctx.build_op(
        "pad", [x, zero], (6, 6), F32, {"padding_config": [(1, 1, 0), (0, 0, 0)]}
    )
    ctx.module.set_results([sums, gathered, scattered, swapped, padded])
    ctx.module.verify()
    assert sums.attributes["window_dimensions"] == (2, 2)
    assert sums.attributes["window_strides"] == (2, 2)
    assert gathered.attributes["all_gather_dim"] == 0
    assert gathered.attributes["replica_groups"] == ((0, 1),)
    assert scattered.attributes["reduce_scatter_dim"] == 1
    assert swapped.attributes["split_dimension"] == 0
    assert padded.attributes["padding_config"] == ((1, 1, 0), (0, 0, 0))


def test_a_gather_by_the_names_of_its_dimension_numbers():
    ctx, x = by_hand()
    rows = ctx.constant(np.array([[3], [0]], np.int32))
    made = ctx.build_op(
        "gather",
        [x, rows],
        (2, 6),
        F32,
        {
            "offset_dims": [1],
            "collapsed_slice_dims": [0],
            "start_index_map": [0],
            "index_vector_dim": 1,
            "gather_slice_sizes": [1, 6],
        },
    )
    ctx.module.set_results(made)
    ctx.module.verify()
    assert made.attributes["offset_dims"] == (1,)
    assert made.attributes["slice_sizes"] == (1, 6)


def test_what_has_no_such_name_is_refused_by_the_verifier():
    ctx, x = by_hand()
    ctx.module.set_results(
        ctx.build_op("negate", [x], x.shape, F32, {"permutation": [1, 0]})
    )
    with pytest.raises(HLOVerificationError, match="unknown attribute 'permutation'"):
        ctx.module.verify()
    with pytest.raises(HLOVerificationError, match="2 dimensions, but 1 sizes"):
        ctx.build_op(
            "reduce-window",
            [x],
            (2, 3),
            F32,
            {"window_dimensions": [2, 2], "window_strides": [1]},
        )


def test_no_two_attributes_have_one_name():
    for record in OPCODES.values():
        public = [p.name for a in record.attributes.values() for p in a.public]
        assert len(set(public)) == len(public), record
        for name, (attribute, _) in record.public.items():
            own = record.attributes.get(name)
            assert own in (None, attribute), f"{record}: {name}"
