"""torch's operators: what is known of them beside their schemas, one record for each.

Of an operator that has no record holds what its schema says: all its tensors are on one
core, but for those without dimensions, which may be the CPU's as Python's numbers are;
what it returns and what it writes to is on that core; autocast has it compute in
float32, if it casts it at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

Cast = Literal["float32", "lower", "widest"]
Runs = Literal["", "whole", "refused"]


class Operator(NamedTuple):
    """One of torch's operators, in one overload.

    Attributes:
        name: ``"aten::index.Tensor"``.
        host_arguments: arguments that may be on the CPU beside others on a core.
        cast: what ``torch.autocast("nkipy")`` casts floating-point arguments to, where
            torch casts for the CPU: float32, the lower precision, or the widest dtype
            among them ("CPU Op-Specific Behavior" in torch's documentation of amp).
        runs: who computes it: the CPU, but for what torch puts together of other
            operators and what has a kernel of its own (""); the CPU as it is, where
            torch would put it together ("whole"); nobody ("refused").
        why: what is special about it.
        writes: arguments that the CPU writes to, where the schema does not say so.
    """

    name: str
    host_arguments: tuple[str, ...] = ()
    cast: Cast = "float32"
    runs: Runs = ""
    why: str = ""
    writes: tuple[str, ...] = ()


def _of(
    names: str,
    host_arguments: tuple[str, ...] = (),
    cast: Cast = "float32",
    runs: Runs = "",
    *,
    why: str,
    writes: tuple[str, ...] = (),
) -> Iterator[Operator]:
    for name in names.split():
        yield Operator(f"aten::{name}", host_arguments, cast, runs, why, writes)


#: By name.
OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for operators in (
        _of(
            "index.Tensor index.Tensor_out _unsafe_index.Tensor index_put_ index_put "
            "_index_put_impl_ _unsafe_index_put",
            ("indices",),
            why="indices may be on the CPU, on any device",
        ),
        _of(
            "bernoulli_.Tensor",
            ("p",),
            why="probabilities are moved to the device of what is drawn",
        ),
        _of(
            "is_set_to",
            ("self", "tensor"),
            why="asks whether two tensors are one, and reads neither",
        ),
        _of(
            "native_batch_norm native_batch_norm.out batch_norm_update_stats",
            why="running statistics are updated; torch has newer ones that say so",
            writes=("running_mean", "running_var"),
        ),
        _of(
            "_linalg_solve_ex",
            runs="whole",
            why="torch's own would see tensors of two devices as an error of its own",
        ),
        _of(
            "mode.values",
            runs="whole",
            why="torch's own names the types of devices that it is for",
        ),
        _of(
            "conj_physical_",
            runs="whole",
            why="torch's own has kernels by the type of device",
        ),
        _of(
            "sparse_compressed_tensor.comp_plain_value "
            "sparse_compressed_tensor.comp_plain_value_size "
            "_sparse_compressed_tensor_unsafe _sparse_csr_tensor_unsafe "
            "_sparse_csc_tensor_unsafe _sparse_bsr_tensor_unsafe "
            "_sparse_bsc_tensor_unsafe",
            runs="refused",
            why="makes a sparse tensor of dense ones, which no operator would take",
        ),
        _of(
            "_addmm_activation _convolution.deprecated _native_multi_head_attention "
            "addbmm addmm baddbmm bmm conv1d conv1d.padding conv2d conv2d.padding "
            "conv3d conv3d.padding conv_tbc conv_transpose1d conv_transpose2d.input "
            "conv_transpose3d.input linalg_vecdot linear matmul mkldnn_rnn_layer mm "
            "prelu scaled_dot_product_attention",
            cast="lower",
            why="the CPU's list of what computes in the lower precision",
        ),
        _of(
            "cat index_copy stack",
            cast="widest",
            why="the CPU's list of what takes the widest dtype that it is given",
        ),
    )
    for operator in operators
}
