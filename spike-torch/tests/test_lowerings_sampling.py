"""Images at places of a grid, bags of rows, distances, quantized numbers, pooling.

Beside the CPU's: what is no number, what lies at and beyond borders, and buckets.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nkipy.compiler.build import build
from spike_torch.lowering import Unsupported

from .lowered_operation import lower_operation
from .lowering_cases import Call, check_padded, check_static

_aten = torch.ops.aten
INF, NAN = float("inf"), float("nan")
#: By default there is test_lowerings.py, of each family's.
pytestmark = pytest.mark.slow


def _call(op: Any, *args: Any) -> Call:
    return Call(op, args, {}, op(*args))


# -- grids -----------------------------------------------------------------------------
def _grid() -> torch.Tensor:
    """Middles, edges, halves between pixels, outside by far, and what is no number."""
    along = [-1.0, -0.75, 0.0, 0.25, 1.0, -1.2, 1.4, 3.7, -9.0, 1e9, INF, NAN]
    x, y = torch.meshgrid(torch.tensor(along), torch.tensor(along), indexing="ij")
    return torch.stack([x, y], -1).unsqueeze(0)


@pytest.mark.exhaustive
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("mode", [0, 1, 2])
def test_places_of_a_grid(mode: int, padding: int, aligned: bool) -> None:
    x = torch.linspace(-2, 7, 2 * 4 * 5).sin().reshape(1, 2, 4, 5)
    grid = _grid()
    call = _call(_aten.grid_sampler_2d.default, x, grid, mode, padding, aligned)
    tolerance = {"rtol": 1e-4, "atol": 1e-4}
    check_static(call, **tolerance)
    assert check_padded(call, lambda tensor, dim: dim != 3, shared=True, **tolerance)
    if mode == 2:
        return
    finite = grid[:, :9, :9].contiguous()
    grad = torch.linspace(1, 5, 2 * 81).cos().reshape(1, 2, 9, 9)
    backward = _aten.grid_sampler_2d_backward.default
    mask = [True, True]
    call = _call(backward, grad, x, finite, mode, padding, aligned, mask)
    check_static(call, **tolerance)
    has_symbol = lambda tensor, dim: tensor != 2 or dim != 3  # noqa: E731
    assert check_padded(call, has_symbol, shared=True, **tolerance)


# -- the rest --------------------------------------------------------------------------
@pytest.mark.parametrize("count", [1, 25, 26])
@pytest.mark.parametrize("mode", [None, 1, 2])
def test_distances_as_the_cpu_chooses_to_compute_them(
    count: int, mode: int | None
) -> None:
    x, y = torch.randn(2, count, 3), torch.randn(1, 4, 3) + 4
    check_static(_call(_aten._cdist_forward.default, x, y, 2.0, mode))
    build(_program(_call(_aten._cdist_forward.default, x, y, 2.0, mode)))


def test_what_has_no_points_has_no_distance() -> None:
    for shapes in (((0, 3), (4, 3)), ((2, 0), (4, 0))):
        x, y = map(torch.ones, shapes)
        call = _call(_aten._cdist_forward.default, x, y, 2.0, None)
        check_static(call)
        grad = torch.ones_like(call.returned)
        back = _aten._cdist_backward.default
        check_static(_call(back, grad, x, y, 2.0, call.returned))
    for rows in ((1, 3), (3, 0)):
        call = _call(_aten._pdist_forward.default, torch.ones(rows), 2.0)
        check_static(call)


def _program(call: Call) -> Any:
    return lower_operation(call.op, call.args, call.kwargs, call.returned).module


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_bags_that_are_empty_or_hold_what_is_no_number(mode: int) -> None:
    weight = torch.tensor([[1.0, NAN], [NAN, -2.0], [INF, 3.0], [-INF, 0.5]])
    at = torch.tensor([1, 2, 3, 0, 2, 3, 3])
    for starts in ([0, 0, 3, 7], [0, 2, 2, 2, 6], [0]):
        args = weight, at, torch.tensor(starts), False, mode
        call = _call(_aten._embedding_bag.default, *args)
        check_static(call)
        assert check_padded(call)
    none = at[:0], torch.tensor([0, 0]), False, mode
    check_static(_call(_aten._embedding_bag.default, weight, *none))


def test_gradients_that_the_cpu_scales_are_the_cpu_s() -> None:
    at, bags = torch.tensor([0, 2, 2]), torch.tensor([0, 1])
    weight = torch.ones(3, 2)
    made = _aten._embedding_bag(weight, at, bags)
    args = (made[0], at, bags, *made[1:], 3, True, 0, False, None)
    with pytest.raises(Unsupported, match="by how often"):
        _program(_call(_aten._embedding_bag_backward.default, *args))


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_places_in_solids_that_are_no_numbers(padding: int) -> None:
    x = torch.linspace(-2, 7, 24).sin().reshape(1, 1, 2, 3, 4)
    along = torch.tensor([-0.3, NAN, INF, -INF, 30.25])
    grid = torch.stack(torch.meshgrid(along, along, along, indexing="ij"), -1)
    for mode in (0, 1):
        args = x, grid.unsqueeze(0), mode, padding, False
        check_static(_call(_aten.grid_sampler_3d.default, *args))
    grad = torch.full((1, 1, 2, 1, 1), INF)
    places = torch.tensor([[-0.3, 0.2, 1.4], [-0.1, 0.3, 0.2]]).reshape(1, 2, 1, 1, 3)
    given = grad, x, places, 0, padding, False, [True, True]
    check_static(_call(_aten.grid_sampler_3d_backward.default, *given))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [(3, 2), (1, 1), (7, 9)])
def test_the_greatest_of_parts(size: tuple[int, int], dtype: torch.dtype) -> None:
    chosen = torch.randint(0, 5, (2, 2, 7, 6))
    x = torch.tensor([1.0, 2.0, NAN, -INF, 1.0])[chosen].to(dtype)
    call = _call(_aten.adaptive_max_pool2d.default, x, size)
    check_static(call)
    assert check_padded(call, extra=4)


def test_numbers_halfway_between_steps() -> None:
    x = torch.arange(-40, 40) / 8
    for scale, zero in ((0.25, 0), (0.5, 3), (0.1, -2)):
        args = (x, scale, zero, -8, 7)
        check_static(
            _call(_aten.fake_quantize_per_tensor_affine_cachemask.default, *args)
        )
