"""Operations of torch's database that the device does not do as the CPU, by cause."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Gap(NamedTuple):
    """Names as ``OpInfo.formatted_name`` has them, and dtypes; None: all."""

    names: set[str]
    dtypes: set[torch.dtype] | None = None


GAPS: dict[str, Gap] = {
    "tensors of a sparse layout have no place in a core's memory": Gap(
        {"sparse_mm_reduce", "sparse_sampled_addmm", "to_sparse"}
    ),
    "torch's own Python adds up in another dtype where the device is not the CPU": Gap(
        {
            "nn_functional_linear_cross_entropy_chunked",
            "nn_functional_linear_cross_entropy_chunked_none",
        },
        {torch.float16, torch.bfloat16},
    ),
}
NAMES: set[str] = set().union(*(gap.names for gap in GAPS.values()))


def is_gap(name: str, dtype: torch.dtype) -> bool:
    """Whether it is known that the device differs for some sample of a dtype."""
    return any(
        name in gap.names and (gap.dtypes is None or dtype in gap.dtypes)
        for gap in GAPS.values()
    )
