"""Operations of torch's database that the device does not do as the CPU, by cause."""

from __future__ import annotations

#: Cause, and names as ``OpInfo.formatted_name`` has them.
GAPS: dict[str, set[str]] = {
    "tensors of a sparse layout have no place in a core's memory": {
        "sparse_mm_reduce",
        "sparse_sampled_addmm",
        "to_sparse",
    },
    "torch's own Python adds up in another dtype where the device is not the CPU": {
        "nn_functional_linear_cross_entropy_chunked",
        "nn_functional_linear_cross_entropy_chunked_none",
    },
}
NAMES = set().union(*GAPS.values())
