"""Padded tensors: what of one is data, and what was added to fill a bucket."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from spiky.checks import checked_number


@dataclass(frozen=True)
class PaddingMetadata:
    """What a tensor was padded to; its data comes first, of padding nothing is known.

    Attributes:
        original_size: of the data, along `pad_dim`.
        padded_size: of the tensor, along `pad_dim`.
        pad_dim: the dimension, from 0 on.
        arg_indices: which arguments were padded together.

    Raises:
        TypeError: a field is no integer.
        ValueError: one is negative, or the data is more than the tensor.
    """

    original_size: int
    padded_size: int
    pad_dim: int = 0
    arg_indices: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("original_size", "padded_size", "pad_dim"):
            checked_number(name, getattr(self, name), least=0)
        indices = tuple(checked_number("arg_indices", i, 0) for i in self.arg_indices)
        object.__setattr__(self, "arg_indices", indices)
        if self.original_size > self.padded_size:
            raise ValueError(
                f"original_size {self.original_size} is more than padded_size "
                f"{self.padded_size}"
            )


#: By the tensor itself, not by its address, which another one may have later.
_metadata = WeakTensorKeyDictionary()


def attach_metadata(tensor: torch.Tensor, metadata: PaddingMetadata) -> torch.Tensor:
    """Say how a tensor is padded, in the place of what was said before.

    Views and copies of it are other tensors, of which nothing is said.

    Returns:
        `tensor`.

    Raises:
        TypeError: it is no tensor, or no PaddingMetadata.
        ValueError: the tensor does not have that size.
    """
    _expect_tensor(tensor)
    if not isinstance(metadata, PaddingMetadata):
        raise TypeError(f"metadata is a PaddingMetadata: got {metadata!r}")
    if metadata.pad_dim >= tensor.dim():
        raise ValueError(
            f"pad_dim {metadata.pad_dim} is no dimension of a tensor of shape "
            f"{tuple(tensor.shape)}"
        )
    if tensor.shape[metadata.pad_dim] != metadata.padded_size:
        raise ValueError(
            f"padded_size is {metadata.padded_size}, and dimension {metadata.pad_dim} "
            f"of the tensor is {tensor.shape[metadata.pad_dim]}"
        )
    _metadata[tensor] = metadata
    return tensor


def get_metadata(tensor: torch.Tensor) -> PaddingMetadata | None:
    """How a tensor is padded; None: nobody has said.

    Raises:
        TypeError: it is no tensor.
    """
    _expect_tensor(tensor)
    found: PaddingMetadata | None = _metadata.get(tensor)
    return found


def has_metadata(tensor: torch.Tensor) -> bool:
    """Whether somebody has said how a tensor is padded.

    Raises:
        TypeError: it is no tensor.
    """
    return get_metadata(tensor) is not None


def is_any_padded() -> bool:
    """Whether anything has been said of any tensor that there still is."""
    return bool(_metadata)


def clear_metadata(tensor: torch.Tensor) -> None:
    """Forget how a tensor is padded, if that is known.

    Raises:
        TypeError: it is no tensor.
    """
    _expect_tensor(tensor)
    _metadata.pop(tensor, None)


def _expect_tensor(tensor: object) -> None:
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"expected a tensor, got {type(tensor).__name__} {tensor!r}")


# -- padding and cutting ---------------------------------------------------------------
def pad_inputs(
    inputs: Sequence[torch.Tensor],
    padded_size: int,
    pad_dim: int = 0,
    arg_indices: Iterable[int] | None = None,
) -> tuple[torch.Tensor, ...]:
    """Inputs as large as a bucket: zeros follow their data, and metadata says so.

    Args:
        inputs: all arguments of a call.
        padded_size: the size of the bucket.
        pad_dim: the dimension that is padded, from 0 on.
        arg_indices: which inputs have that dimension; all of them by default. The
            others are returned as they are.

    Returns:
        New tensors for those that were padded, of the same dtype and device.

    Raises:
        TypeError: inputs are no list of tensors, or a number is no integer.
        ValueError: inputs have different sizes along `pad_dim`, or are larger than
            `padded_size`; or there is no such input or dimension.
    """
    checked_number("padded_size", padded_size, least=0)
    checked_number("pad_dim", pad_dim, least=0)
    if isinstance(inputs, torch.Tensor):
        raise TypeError("inputs are a list of tensors, got one: give [x] for x")
    everything = range(len(inputs))
    indices = tuple(everything if arg_indices is None else arg_indices)
    for index in indices:
        if checked_number("each of arg_indices", index, least=0) not in everything:
            raise ValueError(f"there is no input {index}: there are {len(inputs)}")
    size = _common_size(inputs, indices, pad_dim)
    if size > padded_size:
        raise ValueError(
            f"inputs of size {size} along dimension {pad_dim} do not go into "
            f"{padded_size}"
        )
    metadata = PaddingMetadata(size, padded_size, pad_dim, indices)
    return tuple(
        attach_metadata(_padded(value, padded_size, pad_dim), metadata)
        if index in indices
        else value
        for index, value in enumerate(inputs)
    )


def _common_size(
    inputs: Sequence[torch.Tensor], indices: tuple[int, ...], pad_dim: int
) -> int:
    sizes = set()
    for index in indices:
        value = inputs[index]
        _expect_tensor(value)
        if pad_dim >= value.dim():
            raise ValueError(
                f"input {index} of shape {tuple(value.shape)} has no dimension "
                f"{pad_dim}: name those that have it in arg_indices"
            )
        sizes.add(value.shape[pad_dim])
    if len(sizes) != 1:
        raise ValueError(
            f"inputs are padded together, and have sizes {sorted(sizes)} along "
            f"dimension {pad_dim}: name those that belong together in arg_indices"
        )
    return sizes.pop()


def _padded(value: torch.Tensor, size: int, dimension: int) -> torch.Tensor:
    shape = list(value.shape)
    shape[dimension] = size
    padded = value.new_zeros(shape)
    padded.narrow(dimension, 0, value.shape[dimension]).copy_(value)
    return padded


def unpad_outputs(
    outputs: Sequence[torch.Tensor] | torch.Tensor,
    metadata: PaddingMetadata | None = None,
) -> tuple[torch.Tensor, ...] | torch.Tensor:
    """Outputs cut to their data.

    Args:
        outputs: one tensor, or several.
        metadata: how all of them are padded; by default each by its own, and what has
            none is returned as it is.

    Returns:
        Views of the outputs: one for one tensor, else a tuple.

    Raises:
        TypeError: an output is no tensor.
        ValueError: an output is not of the size that `metadata` says.
    """
    if isinstance(outputs, torch.Tensor):
        return _unpadded(outputs, metadata)
    return tuple(_unpadded(output, metadata) for output in outputs)


def _unpadded(output: torch.Tensor, given: PaddingMetadata | None) -> torch.Tensor:
    metadata = get_metadata(output) if given is None else given
    if metadata is None:
        return output
    shape, dimension = tuple(output.shape), metadata.pad_dim
    if dimension >= len(shape) or shape[dimension] != metadata.padded_size:
        raise ValueError(
            f"an output of shape {shape} was not padded to {metadata.padded_size} "
            f"along dimension {dimension}"
        )
    return output.narrow(dimension, 0, metadata.original_size)


def compute_pad_ratio(original_size: int, padded_size: int) -> float:
    """How many times as large as the data the bucket is: 1.0 means no padding.

    Raises:
        TypeError: a size is no integer.
        ValueError: the data is empty, or more than the bucket.
    """
    checked_number("original_size", original_size, least=1)
    checked_number("padded_size", padded_size, least=original_size)
    return padded_size / original_size


def is_compatible_padded(
    value: torch.Tensor | PaddingMetadata, pad_dim: int, buckets: Iterable[int]
) -> bool:
    """Whether a tensor is padded along a dimension to the size of a bucket.

    Args:
        value: the tensor, which may have no metadata; or the metadata.
        pad_dim: the dimension that is dynamic, from 0 on.
        buckets: the sizes that there are.

    Raises:
        TypeError: it is neither a tensor nor metadata.
    """
    metadata = value if isinstance(value, PaddingMetadata) else get_metadata(value)
    return (
        metadata is not None
        and metadata.pad_dim == pad_dim
        and metadata.padded_size in tuple(buckets)
    )
