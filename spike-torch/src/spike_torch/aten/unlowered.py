"""Operators of which there can be no lowering, and why: they always run eagerly.

What HLO could do and nobody has written is not here.
"""

from __future__ import annotations

from spike_torch.aten.record import operator

# -- of any size -----------------------------------------------------------------------
operator(
    "nonzero masked_select",
    unlowered="returns as many elements as its data says, and programs have one size",
)
operator(
    "_unique _unique2 unique_dim unique_consecutive unique_dim_consecutive",
    unlowered="returns as many elements as there are different ones in its data",
)
operator(
    "bincount repeat_interleave.Tensor",
    unlowered="returns as many elements as numbers in its data say",
)

# -- between Python and tensors --------------------------------------------------------
operator(
    "_local_scalar_dense",
    unlowered="gives Python a number, for which it waits",
)
operator(
    "equal",
    unlowered="gives Python an answer, for which it waits",
)

# -- complex numbers -------------------------------------------------------------------
operator(
    "_fft_r2c _fft_c2r _fft_c2c view_as_complex complex polar view_as_real _conj",
    unlowered="has complex numbers, which cores do not compute with",
)

# -- memory ----------------------------------------------------------------------------
# torch.compile's backend takes the first apart where a tensor has its own order.
operator(
    "as_strided as_strided_copy as_strided_scatter",
    unlowered="takes elements by where they lie in memory, which a program's arrays "
    "do not tell",
)
operator(
    "resize_ resize set_ set_.source_Tensor",
    unlowered="gives a tensor other memory, which a program cannot",
)

# -- what has another form -------------------------------------------------------------
operator(
    "_native_batch_norm_legit",
    unlowered="writes to running statistics; its functional form has a lowering",
)
