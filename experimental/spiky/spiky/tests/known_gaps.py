"""Operations of torch's database that compiled functions do not do as eager, by cause.

Names are as ``OpInfo.formatted_name`` has them.
"""

from __future__ import annotations

GAPS: dict[str, set[str]] = {
    "of GPUs alone": {
        "jiterator_2inputs_2outputs",
        "jiterator_4inputs_with_extra_args",
        "jiterator_binary",
        "jiterator_binary_return_by_ref",
        "jiterator_unary",
    },
    "parts that torch does not call views are copies": {"unsafe_chunk"},
    "sums in another order, which differ by more than 1e-5 where they are near 0": {
        "addbmm",
        "nn_functional_conv_transpose3d",
    },
}
NAMES: set[str] = set().union(*GAPS.values())
