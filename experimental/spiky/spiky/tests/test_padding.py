"""Metadata of padded tensors, and the functions that pad and cut."""

from __future__ import annotations

import gc

import pytest
import torch

import spiky
from spiky import PaddingMetadata


def test_metadata_is_a_tensors_own() -> None:
    x = torch.zeros(4, 3)
    metadata = PaddingMetadata(3, 4, 0, [0, 2])  # type: ignore[arg-type]
    assert metadata.arg_indices == (0, 2)
    assert not spiky.has_metadata(x) and spiky.get_metadata(x) is None
    assert spiky.attach_metadata(x, metadata) is x
    assert spiky.has_metadata(x) and spiky.get_metadata(x) == metadata
    for other in (x.clone(), x[:], x.view(4, 3), torch.zeros(4, 3)):
        assert not spiky.has_metadata(other)
    spiky.clear_metadata(x)
    spiky.clear_metadata(x)
    assert not spiky.has_metadata(x)


def test_metadata_ends_with_its_tensor() -> None:
    """And no other tensor has it that lies where the first one has lain."""
    from spiky.padding import _metadata

    gc.collect()
    before = len(_metadata)
    for _ in range(50):
        x = torch.zeros(2)
        assert not spiky.has_metadata(x)
        spiky.attach_metadata(x, PaddingMetadata(1, 2))
        del x
    gc.collect()
    assert len(_metadata) == before


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ((5, 4), ValueError),
        ((-1, 4), ValueError),
        ((1, 4, -1), ValueError),
        ((1, 4, 0, (-1,)), ValueError),
        ((1.0, 4), TypeError),
        ((True, 4), TypeError),
    ],
)
def test_wrong_metadata_is_refused(fields: tuple, error: type[Exception]) -> None:
    with pytest.raises(error):
        PaddingMetadata(*fields)


def test_metadata_of_another_shape_is_refused() -> None:
    x = torch.zeros(4, 3)
    with pytest.raises(ValueError, match="padded_size is 8, and dimension 0 .* is 4"):
        spiky.attach_metadata(x, PaddingMetadata(3, 8))
    with pytest.raises(ValueError, match="pad_dim 2 is no dimension"):
        spiky.attach_metadata(x, PaddingMetadata(3, 4, 2))
    with pytest.raises(TypeError, match="is a PaddingMetadata"):
        spiky.attach_metadata(x, (3, 4))  # type: ignore[arg-type]
    assert not spiky.has_metadata(x)
    for function in (spiky.get_metadata, spiky.has_metadata, spiky.clear_metadata):
        with pytest.raises(TypeError, match="expected a tensor, got list"):
            function([1])  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["cpu", "nkipy"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bfloat16])
@pytest.mark.parametrize("pad_dim", [0, 1])
def test_inputs_are_padded_and_cut(
    device: str, dtype: torch.dtype, pad_dim: int
) -> None:
    x = torch.arange(9).reshape(3, 3).to(dtype=dtype, device=device)
    weight = torch.ones(3, device=device)
    padded, same = spiky.pad_inputs([x, weight], 5, pad_dim, [0])
    assert same is weight
    expected = torch.zeros((5, 3) if pad_dim == 0 else (3, 5), dtype=dtype)
    expected[:3, :3] = x.cpu()
    torch.testing.assert_close(padded.cpu(), expected, rtol=0, atol=0)
    assert padded.device == x.device
    assert spiky.get_metadata(padded) == PaddingMetadata(3, 5, pad_dim, (0,))
    cut = spiky.unpad_outputs(padded)
    assert isinstance(cut, torch.Tensor)
    torch.testing.assert_close(cut.cpu(), x.cpu(), rtol=0, atol=0)


def test_several_are_padded_together() -> None:
    x, y = torch.ones(2, 3), torch.ones(2)
    padded = spiky.pad_inputs((x, y), 4)
    assert [tuple(p.shape) for p in padded] == [(4, 3), (4,)]
    assert {spiky.get_metadata(p) for p in padded} == {PaddingMetadata(2, 4, 0, (0, 1))}
    outputs = spiky.unpad_outputs([*padded, x])
    assert [tuple(o.shape) for o in outputs] == [(2, 3), (2,), (2, 3)]
    given = PaddingMetadata(1, 4)
    assert [o.shape[0] for o in spiky.unpad_outputs(padded, given)] == [1, 1]


def test_what_cannot_be_padded_or_cut_is_refused() -> None:
    x = torch.ones(4, 3)
    with pytest.raises(ValueError, match="size 4 along dimension 0 do not go into 3"):
        spiky.pad_inputs([x], 3)
    with pytest.raises(ValueError, match=r"have sizes \[3, 4\] along dimension 0"):
        spiky.pad_inputs([x, x.t()], 8)
    with pytest.raises(ValueError, match="there is no input 1"):
        spiky.pad_inputs([x], 8, arg_indices=[1])
    with pytest.raises(ValueError, match="has no dimension 2"):
        spiky.pad_inputs([x], 8, pad_dim=2)
    with pytest.raises(ValueError, match="was not padded to 8 along dimension 0"):
        spiky.unpad_outputs(x, PaddingMetadata(3, 8))
    with pytest.raises(TypeError, match=r"give \[x\]"):
        spiky.pad_inputs(torch.ones(5, 2), padded_size=8)
    with pytest.raises(TypeError, match="expected a tensor"):
        spiky.pad_inputs([x, 3], 8)  # type: ignore[list-item]


def test_ratio_and_compatibility() -> None:
    assert spiky.compute_pad_ratio(4, 8) == 2.0
    assert spiky.compute_pad_ratio(8, 8) == 1.0
    for sizes in ((0, 8), (9, 8)):
        with pytest.raises(ValueError):
            spiky.compute_pad_ratio(*sizes)
    (padded,) = spiky.pad_inputs([torch.ones(3, 2)], 4)
    assert spiky.is_compatible_padded(padded, 0, [2, 4])
    assert spiky.is_compatible_padded(PaddingMetadata(3, 4), 0, (4,))
    assert not spiky.is_compatible_padded(padded, 1, [2, 4])
    assert not spiky.is_compatible_padded(padded, 0, [8])
    assert not spiky.is_compatible_padded(torch.ones(4, 2), 0, [4])
