"""Lowerings of normalizations, with padding and in narrow floats, beside the CPU's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from spike_torch.lowering import Unsupported

from .bucket_cases import Arguments, check_every_size, compile_program, numbers
from .lowering_cases import calls_with, check_static

#: By default there is test_lowerings.py, of each family's.
pytestmark = pytest.mark.slow

aten = torch.ops.aten
FINE = {"rtol": 1e-4, "atol": 1e-4}
SIZES = (2, 3, 4, 5, 8, 13, 20, 32)


def of_channels(channels: int, *indices: int) -> tuple[torch.Tensor, ...]:
    """Weight, bias, mean, variance of so many channels."""
    first = torch.linspace(-1, 2, channels)
    made = (first, first + 1, first * 2, first.square() + 0.5)
    return made if not indices else tuple(made[i] for i in indices)


def of_layer(x: torch.Tensor, shape: list[int]) -> Arguments:
    weight = torch.linspace(-1, 2, torch.Size(shape).numel()).reshape(shape)
    return (x, shape, weight, weight + 1, 1e-5)


def of_layer_backward(x: torch.Tensor, shape: list[int], mask: list[bool]) -> Arguments:
    _, mean, rstd = aten.native_layer_norm(*of_layer(x, shape))
    _, _, weight, bias, _ = of_layer(x, shape)
    return (x.sin(), x, shape, mean, rstd, weight, bias, mask)


def of_group(x: torch.Tensor, group: int) -> Arguments:
    n, c, *rest = x.shape
    weight, bias, *_ = of_channels(c)
    return (x, weight, bias, n, c, torch.Size(rest).numel(), group, 1e-5)


def of_group_backward(x: torch.Tensor, group: int, mask: list[bool]) -> Arguments:
    _, weight, _, n, c, size, _, _ = of_group(x, group)
    _, mean, rstd = aten.native_group_norm(*of_group(x, group))
    return (x.sin(), x, mean, rstd, weight, n, c, size, group, mask)


def of_batch_backward(x: torch.Tensor, train: bool, mask: list[bool]) -> Arguments:
    weight, bias, mean, var = of_channels(x.shape[1])
    _, own, rstd = aten._native_batch_norm_legit.no_stats(
        x, weight, bias, True, 0, 1e-3
    )
    return (x.sin(), x, weight, mean, var, own, rstd, train, 1e-3, mask)


EVERY = [True, True, True]
NORMS: dict[str, tuple[Any, Callable[[int], Arguments]]] = {
    "layers": (aten.native_layer_norm, lambda n: of_layer(numbers(2, n, 4), [4])),
    "layers of all": (
        aten.native_layer_norm,
        lambda n: of_layer(numbers(n, 3, 4), [3, 4]),
    ),
    "layers backward": (
        aten.native_layer_norm_backward,
        lambda n: of_layer_backward(numbers(2, n, 4), [4], EVERY),
    ),
    "layers backward, some": (
        aten.native_layer_norm_backward,
        lambda n: of_layer_backward(numbers(n, 3, 4), [3, 4], [True, False, True]),
    ),
    "groups": (aten.native_group_norm, lambda n: of_group(numbers(n, 4, 5), 2)),
    "groups in space": (
        aten.native_group_norm,
        lambda n: of_group(numbers(2, 4, 3, n), 2),
    ),
    "groups backward": (
        aten.native_group_norm_backward,
        lambda n: of_group_backward(numbers(n, 4, 5), 2, EVERY),
    ),
    "groups in space backward": (
        aten.native_group_norm_backward,
        lambda n: of_group_backward(numbers(2, 6, n, 3), 3, [True, True, False]),
    ),
    "batch": (
        aten._native_batch_norm_legit_functional,
        lambda n: (numbers(n, 3), *of_channels(3), True, 0.1, 1e-3),
    ),
    "batch in space": (
        aten._native_batch_norm_legit_functional,
        lambda n: (numbers(2, 3, 4, n), *of_channels(3), True, 0.1, 1e-3),
    ),
    "batch, evaluated": (
        aten._native_batch_norm_legit_no_training,
        lambda n: (numbers(n, 3, 4), *of_channels(3), 0.1, 1e-3),
    ),
    "batch alone": (
        aten._native_batch_norm_legit.no_stats,
        lambda n: (numbers(n, 3, 4), None, None, True, 0.1, 1e-3),
    ),
    "batch backward": (
        aten.native_batch_norm_backward,
        lambda n: of_batch_backward(numbers(n, 3, 4), True, EVERY),
    ),
    "batch backward, evaluated": (
        aten.native_batch_norm_backward,
        lambda n: of_batch_backward(numbers(n, 3, 4), False, [True, True, False]),
    ),
}


def operator_of(name: str) -> Any:
    op = NORMS[name][0]
    return op.default if isinstance(op, torch._ops.OpOverloadPacket) else op


@pytest.mark.parametrize("name", NORMS)
def test_padding_is_in_no_statistic(name: str) -> None:
    check_every_size(operator_of(name), NORMS[name][1], SIZES, FINE)


@pytest.mark.parametrize("name", NORMS)
def test_the_compiler_takes_it(name: str, tmp_path: Path) -> None:
    compile_program(operator_of(name), NORMS[name][1](23), {}, tmp_path)


@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", NORMS)
def test_narrow_floats(name: str, narrow: torch.dtype) -> None:
    """All in the narrow dtype, and with parameters and statistics in float32."""
    wide = NORMS[name][1](4)
    whole = tuple(x.to(narrow) if isinstance(x, torch.Tensor) else x for x in wide)
    first = 2 if "backward" in name else 1
    mixed = (*whole[:first], *wide[first:])
    done = 0
    for args in (whole, mixed):
        try:
            (call,) = calls_with(operator_of(name), [(args, {})])
        except RuntimeError:  # of the CPU, which does not take these together
            continue
        check_static(call, rtol=2e-2, atol=2e-2)
        done += 1
    assert done


def test_running_statistics_that_are_written_to_are_left_alone() -> None:
    args = (numbers(4, 3), *of_channels(3), True, 0.1, 1e-3)
    (call,) = calls_with(aten.native_batch_norm.default, [(args, {})])
    with pytest.raises(Unsupported, match="running statistics"):
        check_static(call)
