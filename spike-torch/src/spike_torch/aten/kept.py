"""Operators of which the device is to know more than their schemas say.

It is all that registering the device reads of records.
"""

from __future__ import annotations

from spike_torch.aten.record import OPERATORS, operator

__all__ = ["OPERATORS"]

operator(
    "index.Tensor index.Tensor_out _unsafe_index.Tensor index_put_ index_put "
    "_index_put_impl_ _unsafe_index_put",
    host_arguments=("indices",),
    why="indices may be on the CPU, on any device",
)
operator(
    "bernoulli_.Tensor",
    host_arguments=("p",),
    why="probabilities are moved to the device of what is drawn",
)
operator(
    "is_set_to",
    host_arguments=("self", "tensor"),
    why="asks whether two tensors are one, and reads neither",
)
operator(
    "native_batch_norm native_batch_norm.out batch_norm_update_stats",
    why="running statistics are updated; torch has newer ones that say so",
    writes=("running_mean", "running_var"),
)
operator(
    "_linalg_solve_ex",
    runs="whole",
    why="torch's own would see tensors of two devices as an error of its own",
)
operator(
    "mode.values",
    runs="whole",
    why="torch's own names the types of devices that it is for",
)
operator(
    "conj_physical_",
    runs="whole",
    why="torch's own has kernels by the type of device",
)
operator(
    "addr_",
    runs="whole",
    why="torch's own resizes what it writes to, unless given it by one reference",
)
operator(
    "sparse_compressed_tensor.comp_plain_value "
    "sparse_compressed_tensor.comp_plain_value_size "
    "_sparse_compressed_tensor_unsafe _sparse_csr_tensor_unsafe "
    "_sparse_csc_tensor_unsafe _sparse_bsr_tensor_unsafe "
    "_sparse_bsc_tensor_unsafe",
    runs="refused",
    why="makes a sparse tensor of dense ones, which no operator would take",
)
operator(
    "_addmm_activation _convolution.deprecated _native_multi_head_attention "
    "addbmm addmm baddbmm bmm conv1d conv1d.padding conv2d conv2d.padding "
    "conv3d conv3d.padding conv_tbc conv_transpose1d conv_transpose2d.input "
    "conv_transpose3d.input linalg_vecdot linear matmul mkldnn_rnn_layer mm "
    "prelu scaled_dot_product_attention",
    cast="lower",
    why="the CPU's list of what computes in the lower precision",
)
operator(
    "cat index_copy stack",
    cast="widest",
    why="the CPU's list of what takes the widest dtype that it is given",
)
