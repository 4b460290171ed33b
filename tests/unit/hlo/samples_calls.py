"""Samples of contractions, indexing, calls and collectives."""

from __future__ import annotations

import numpy as np

from nkipy.hlo.opcodes import WindowDim
from tests.unit.hlo.sample import (
    Sample,
    Wrong,
    comparator,
    computation,
    reducer,
)

_F, _S = "f32[2,3]", "s32[]"
_GROUPS = {"replica_groups": ((0, 1),)}
_DIM0 = {"dimensions": (0,)}

_DOT = {
    "lhs_contracting_dims": (2,),
    "rhs_contracting_dims": (1,),
    "lhs_batch_dims": (0,),
    "rhs_batch_dims": (0,),
}
_CONV = {
    "window": (WindowDim(3, 2, 1, 1), WindowDim(3, 1, 1, 1)),
    "dim_labels": "bf01_oi01->bf01",
    "feature_group_count": 1,
    "batch_group_count": 1,
}
_GATHER = {
    "offset_dims": (1,),
    "collapsed_slice_dims": (0,),
    "start_index_map": (0,),
    "index_vector_dim": 1,
    "slice_sizes": (1, 4),
    "indices_are_sorted": False,
}
_SCATTER = {
    "update_window_dims": (1,),
    "inserted_window_dims": (0,),
    "scatter_dims_to_operand_dims": (0,),
    "index_vector_dim": 1,
    "indices_are_sorted": True,
    "unique_indices": True,
    "to_apply": reducer(),
}
_SOLVE = {
    "left_side": True,
    "lower": False,
    "unit_diagonal": False,
    "transpose_a": True,
}

_ALGEBRA = [
    Sample(
        "dot",
        ("f32[5,2,3]", "f32[5,3,4]"),
        "f32[5,2,4]",
        _DOT,
        (
            Wrong("contracting", attributes={"rhs_contracting_dims": (2,)}),
            Wrong("batch", attributes={"lhs_batch_dims": ()}),
            Wrong("not distinct", attributes={"lhs_batch_dims": (2,)}),
            Wrong("has to be f32[5,2,4]", result="f32[5,4,2]"),
            Wrong("element type", operands=("f32[5,2,3]", "bf16[5,3,4]")),
            Wrong("missing", without=("lhs_batch_dims",)),
        ),
    ),
    Sample("dot", ("bf16[5,2,3]", "bf16[5,3,4]"), "f32[5,2,4]", _DOT),
    Sample(
        "convolution",
        ("f32[2,3,8,8]", "f32[4,3,3,3]"),
        "f32[2,4,4,8]",
        _CONV,
        (
            Wrong("malformed", attributes={"dim_labels": "bf01_oi01"}),
            Wrong("malformed", attributes={"dim_labels": "bf01_oi02->bf01"}),
            Wrong("has to be", attributes={"dim_labels": "bf01_oi01->fb01"}),
            Wrong(
                "window 1 is 2",
                attributes={"window": (*_CONV["window"][:1], WindowDim(2))},
            ),
            Wrong("one rank", attributes={"window": _CONV["window"][:1]}),
            Wrong("input features", attributes={"feature_group_count": 2}),
            Wrong("batch_group_count 0", attributes={"batch_group_count": 0}),
        ),
    ),
    Sample(
        "convolution",
        ("f32[1,9,6]", "f32[2,3,4]"),
        "f32[1,6,4]",
        {
            "window": (WindowDim(2, 1, 0, 0, 1, 3, True),),
            "dim_labels": "b0f_0io->b0f",
            "feature_group_count": 2,
        },
    ),
    Sample(
        "cholesky",
        ("f32[2,3,3]",),
        "f32[2,3,3]",
        {"lower": True},
        (Wrong("square", operands=(_F,), result=_F),),
    ),
    Sample(
        "triangular-solve",
        ("f32[3,3]", "f32[3,2]"),
        "f32[3,2]",
        _SOLVE,
        (
            Wrong("do not fit", attributes={"left_side": False}),
            Wrong("differ in rank", operands=("f32[3,3]", "f32[3]"), result="f32[3]"),
        ),
    ),
    Sample(
        "gather",
        ("f32[9,4]", "s32[5,1]"),
        "f32[5,4]",
        _GATHER,
        (
            Wrong("has to be", result="f32[4,5]"),
            Wrong("not integers", operands=("f32[9,4]", "f32[5,1]")),
            Wrong("index vectors of 2", operands=("f32[9,4]", "s32[5,2]")),
            Wrong("exceeds", attributes={"slice_sizes": (1, 5)}),
            Wrong("over 1", attributes={"slice_sizes": (2, 4)}),
            Wrong("offset_dims", attributes={"offset_dims": (2,)}),
            Wrong("index_vector_dim 3", attributes={"index_vector_dim": 3}),
        ),
    ),
    Sample(
        "gather",
        ("f32[9,4]", "s32[5]"),
        "f32[2,5]",
        {
            "offset_dims": (0,),
            "collapsed_slice_dims": (0,),
            "start_index_map": (1,),
            "index_vector_dim": 1,
            "slice_sizes": (1, 2),
        },
    ),
    Sample(
        "scatter",
        ("f32[9,4]", "s32[5,1]", "f32[5,4]"),
        "f32[9,4]",
        _SCATTER,
        (
            Wrong("to_apply 'add_s32'", attributes={"to_apply": reducer("add", "s32")}),
            Wrong("larger", operands=("f32[9,4]", "s32[5,1]", "f32[5,5]")),
            Wrong("differ in their", operands=("f32[9,4]", "s32[6,1]", "f32[5,4]")),
            Wrong("windows are not", attributes={"inserted_window_dims": ()}),
        ),
    ),
    Sample(
        "sort",
        (_F,),
        _F,
        {"dimension": 1, "is_stable": True, "to_apply": comparator("f32")},
        (
            Wrong("out of range", attributes={"dimension": 2}),
            Wrong("takes", attributes={"to_apply": comparator("s32")}),
            Wrong("returns f32[]", attributes={"to_apply": reducer()}),
        ),
    ),
    Sample(
        "sort",
        (_F, "s32[2,3]"),
        f"({_F}, s32[2,3])",
        {"dimension": 0, "is_stable": False, "to_apply": comparator("f32", "s32")},
        (Wrong("differ in shape", operands=(_F, "s32[2]")),),
    ),
    Sample(
        "reduce",
        ("f32[2,3,4]", "f32[]"),
        "f32[3]",
        {"dimensions": (0, 2), "to_apply": reducer()},
        (
            Wrong("has to be", result="f32[4]"),
            Wrong("not distinct", attributes={"dimensions": (0, 3)}),
            Wrong("takes", attributes={"to_apply": reducer("add", "s32")}),
            Wrong("not a scalar", operands=("f32[2,3,4]", "f32[1]")),
            Wrong("as many", operands=("f32[2,3,4]", "f32[]", "f32[]")),
            Wrong("missing attributes: to_apply", without=("to_apply",)),
        ),
    ),
    Sample(
        "reduce",
        (_F, "s32[2,3]", "f32[]", "s32[]"),
        "(f32[2], s32[2])",
        {
            "dimensions": (1,),
            "to_apply": computation(
                "both",
                "f32[] s32[] f32[] s32[]",
                ("maximum", (0, 2), "f32[]"),
                ("minimum", (1, 3), "s32[]"),
                ("tuple", (4, 5), "(f32[], s32[])"),
            ),
        },
        (Wrong("has to be", result="(f32[2], s32[3])"),),
    ),
    Sample(
        "reduce-window",
        ("f32[1,8]", "f32[]"),
        "f32[1,4]",
        {
            "window": (WindowDim(1), WindowDim(3, 2, 1, 0)),
            "to_apply": reducer("maximum"),
        },
        (
            Wrong("has to be", result="f32[1,5]"),
            Wrong("not of rank 2", attributes={"window": (WindowDim(1),)}),
            Wrong("positive", attributes={"window": (WindowDim(0), WindowDim(3))}),
            Wrong("WindowDim", attributes={"window": ((1, 1), (3, 2))}),
        ),
    ),
]

_ADD_ONE = computation(
    "body",
    "(s32[], f32[4])",
    ("get-tuple-element", (0,), "s32[]", {"index": 0}),
    ("get-tuple-element", (0,), "f32[4]", {"index": 1}),
    ("constant", (), "s32[]", {"literal": np.array(1, np.int32)}),
    ("add", (1, 3), "s32[]"),
    ("add", (2, 2), "f32[4]"),
    ("tuple", (4, 5), "(s32[], f32[4])"),
)
_BELOW_FIVE = computation(
    "condition",
    "(s32[], f32[4])",
    ("get-tuple-element", (0,), "s32[]", {"index": 0}),
    ("constant", (), "s32[]", {"literal": np.array(5, np.int32)}),
    ("compare", (1, 2), "pred[]", {"direction": "LT"}),
)
_NEGATE = computation("negate_f32", "f32[2]", ("negate", (0,), "f32[2]"))
_EXPONENTIAL = computation("exp_f32", "f32[2]", ("exponential", (0,), "f32[2]"))

_CALLS = [
    Sample(
        "while",
        ("(s32[], f32[4])",),
        "(s32[], f32[4])",
        {"condition": _BELOW_FIVE, "body": _ADD_ONE},
        (
            Wrong("condition 'body' returns", attributes={"condition": _ADD_ONE}),
            Wrong("body 'condition' returns", attributes={"body": _BELOW_FIVE}),
            Wrong("takes", operands=("(s32[], f32[5])",), result="(s32[], f32[5])"),
        ),
    ),
    Sample(
        "conditional",
        ("pred[]", "f32[2]", "f32[2]"),
        "f32[2]",
        {"branches": (_NEGATE, _EXPONENTIAL)},
        (
            Wrong("not pred or s32", operands=("u8[]", "f32[2]", "f32[2]")),
            Wrong("not one operand", attributes={"branches": (_NEGATE,)}),
            Wrong("takes", operands=("pred[]", "f32[2]", "f32[3]")),
        ),
    ),
    Sample(
        "conditional",
        ("s32[]", "f32[2]", "f32[2]", "f32[2]"),
        "f32[2]",
        {"branches": (_NEGATE, _EXPONENTIAL, _NEGATE)},
    ),
    Sample(
        "call",
        ("f32[2]",),
        "f32[2]",
        {"to_apply": _NEGATE},
        (Wrong("takes", operands=("f32[3]",)), Wrong("be", result="f32[3]")),
    ),
    Sample(
        "custom-call",
        (_F, "s32[2]"),
        f"({_F}, s32[2])",
        {
            "custom_call_target": "AwsNeuronCustomNativeKernel",
            "backend_config": b'{"k": 1}\n\xff',
            "api_version": 2,
            "has_side_effect": True,
            "output_operand_aliasing": ((0, 0), (1, 1)),
            "frontend_attributes": (("has_collectives", "1"),),
        },
        (
            Wrong("target is empty", attributes={"custom_call_target": ""}),
            Wrong("api_version 5", attributes={"api_version": 5}),
            Wrong("differ", attributes={"output_operand_aliasing": ((0, 1),)}),
            Wrong("operand 2", attributes={"output_operand_aliasing": ((0, 2),)}),
            Wrong("output 2 of", attributes={"output_operand_aliasing": ((2, 0),)}),
            Wrong("twice", attributes={"output_operand_aliasing": ((0, 0), (0, 0))}),
            Wrong("backend_config", attributes={"backend_config": "text"}),
        ),
        compiles=False,
    ),
    Sample(
        "custom-call",
        (_F,),
        _F,
        {
            "custom_call_target": "T",
            "api_version": 1,
            "output_operand_aliasing": ((None, 0),),
        },
        (
            Wrong(
                "names output 0 of", attributes={"output_operand_aliasing": ((0, 0),)}
            ),
        ),
        compiles=False,
    ),
]

_COLLECTIVES = [
    Sample(
        "all-reduce",
        (_F,),
        _F,
        {**_GROUPS, "to_apply": reducer()},
        (
            Wrong("two replica_groups", attributes={"replica_groups": ((0,), (0,))}),
            Wrong("takes", attributes={"to_apply": reducer("add", "s32")}),
            Wrong("be", result="f32[6]"),
        ),
        compiles=False,
    ),
    Sample(
        "all-gather",
        (_F,),
        "f32[4,3]",
        {**_GROUPS, **_DIM0},
        (
            Wrong("has to be f32[6,3]", attributes={"replica_groups": ((0, 1, 2),)}),
            Wrong("different sizes", attributes={"replica_groups": ((0, 1), (2,))}),
            Wrong("2 dimensions", attributes={"dimensions": (0, 1)}),
        ),
        compiles=False,
    ),
    Sample(
        "reduce-scatter",
        (_F,),
        "f32[1,3]",
        {**_GROUPS, **_DIM0, "to_apply": reducer()},
        (
            Wrong("does not divide", attributes={"dimensions": (1,)}),
            Wrong("be", result=_F),
        ),
        compiles=False,
    ),
    Sample(
        "all-to-all",
        (_F,),
        _F,
        {**_GROUPS, **_DIM0},
        (
            Wrong("does not divide", attributes={"dimensions": (1,)}),
            Wrong("out of range", attributes={"dimensions": (2,)}),
        ),
        compiles=False,
    ),
    Sample(
        "collective-broadcast",
        (_F,),
        _F,
        {"replica_groups": ((1, 0),)},
        (
            Wrong("two replica_groups", attributes={"replica_groups": ((0,), (0, 1))}),
            Wrong("empty", attributes={"replica_groups": ((0,), ())}),
            Wrong("-1 is not", attributes={"replica_groups": ((0, -1),)}),
            Wrong("has to be", result="f32[3,2]"),
        ),
        compiles=False,
    ),
    Sample(
        "collective-permute",
        (_F,),
        _F,
        {"source_target_pairs": ((0, 1), (1, 0))},
        (
            Wrong("source occ", attributes={"source_target_pairs": ((0, 1), (0, 0))}),
            Wrong("target occ", attributes={"source_target_pairs": ((0, 1), (1, 1))}),
            Wrong("-1 is not", attributes={"source_target_pairs": ((0, -1),)}),
            Wrong("65536 is not", attributes={"source_target_pairs": ((65536, 0),)}),
            Wrong("a tuple of", attributes={"source_target_pairs": ((0, 1, 2),)}),
        ),
        compiles=False,
    ),
]

CALLS = [*_ALGEBRA, *_CALLS, *_COLLECTIVES]
