"""Operators that compute element by element, on what torch's samples do not have.

All calls of a kind make one program, which is compiled for the device too: it refuses
what the device lacks.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from nkipy.compiler.build import BuildOptions, build
from spike_torch.aten import OPERATORS
from spike_torch.lowering import Unsupported

from .lowered_operation import lower_operation
from .lowering_batches import Batch, worst
from .lowering_cases import operator_of

aten = torch.ops.aten
FAMILIES = (
    *("activation_gradients", "activations", "arithmetic", "bitwise", "comparisons"),
    *("conversions", "division", "losses", "powers", "rounding", "selection"),
    "transcendental",
)
FLOATS = (torch.float32, torch.bfloat16, torch.float16)
INTEGERS = (torch.int64, torch.int32, torch.uint8, torch.bool)
NAN, INF = float("nan"), float("inf")
SPECIAL = (
    *(NAN, -INF, -300.0, -20.0, -7.5, -3.0, -2.5, -1.5, -1.0, -0.5, -1e-4, -0.0),
    *(0.0, 1e-4, 0.3, 0.5, 0.999, 1.0, 1.5, 2.0, 2.5, 3.0, 6.0, 7.5, 20.0, 300.0),
)
#: Units in the last place by which a float32 result differs from the CPU's, where that
#: is more than 4. Sums of products are rounded once by the CPU, whose instructions
#: multiply and add; where they nearly cancel, that is seen.
ROUGHER = {"erfc": 8, "erfinv": 16, "logaddexp": 16, "logaddexp2": 2**31, "gelu": 2**31}
#: Near zeros that no factor has; and where the CPU's are as far from what is true.
ROUGHER |= {"lgamma": 32, "digamma": 32, "special_i1": 16, "special_i1e": 12}
#: Of a difference that the CPU itself computes in another way at each place.
IGNORED = {
    "logit": "the CPU cuts the two parts of narrow floats",
    "fmod.Tensor": "the CPU's vectors have NaN for quotients beyond all integers",
    "lerp.Tensor": "nearly cancels",
    "addcmul": "nearly cancels",
    "binary_cross_entropy_backward": "is of probabilities, which these are not",
    "tanh_backward": "nearly cancels",
    "gelu_backward": "the CPU's tanh of large numbers is 1",
}


def values(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Every pair of numbers that are special, and a third; all of one length."""
    if dtype.is_floating_point:
        special = torch.tensor(SPECIAL)
    elif dtype == torch.bool:
        special = torch.tensor([True, False])
    else:
        info = torch.iinfo(dtype)
        numbers = [0, 1, 2, 3, 7, 8, 31, 33, 100, info.max, info.max - 1]
        numbers += [-1, -2, -3, -8, -100, info.min + 1] if info.min else []
        special = torch.tensor(numbers)
    special = special.to(dtype)
    n = len(special)
    x, y = special.repeat(n), special.repeat_interleave(n)
    spare = torch.ones(-len(x) % 32, dtype=dtype)  # the CPU's vectors do all
    return (
        torch.cat([x, spare]),
        torch.cat([y, spare]),
        torch.cat([x.flip(0), spare]),
    )


def elementwise() -> Iterator[tuple[str, Any]]:
    """Operators of these families whose samples are functions of named tensors."""
    for name, known in sorted(OPERATORS.items()):
        if known.lower is None or not callable(known.samples):
            continue
        module = inspect.getmodule(known.lower)
        if Path(module.__file__).stem == "pointwise" or (
            module.__name__.rpartition(".")[2] in FAMILIES
        ):
            if name.startswith("aten::"):
                yield name, known


def arguments(known: Any, dtype: torch.dtype, given: Any) -> Iterator[Any]:
    """The sample's arguments, with these tensors in place of its own."""
    x, y, z = given
    for args, kwargs in known.samples():
        tensors = cycle((x, y, z))
        made = []
        for place, arg in enumerate(args):
            if not isinstance(arg, torch.Tensor):
                made.append(arg)
            elif arg.dtype == torch.bool:
                made.append(z > 0 if dtype != torch.bool else z)
            elif arg.ndim == 0:
                made.append(torch.tensor(1.5 + place).to(dtype))
            else:
                made.append(next(tensors))
        yield tuple(made), kwargs


_DIVISIONS = ("div.", "floor_divide", "remainder", "fmod", "__", "lcm")


def _without_zero(x: torch.Tensor) -> torch.Tensor:
    return torch.where((x == 0) | (x == -1), torch.full_like(x, 3), x)


def batch_of(dtype: torch.dtype) -> Batch:
    x, y, z = values(dtype)
    divisor = y if dtype.is_floating_point else _without_zero(y)
    batch = Batch()
    for name, known in elementwise():
        short = name.partition("::")[2]
        second = divisor if short.startswith(_DIVISIONS) else y
        for args, kwargs in arguments(known, dtype, (x, second, z)):
            batch.add(operator_of(name), *args, **kwargs)
    return batch


def check(batch: Batch, least: int) -> None:
    results = batch.run()
    assert len(results) >= least
    wrong = []
    for text, made, wanted in results:
        name = text.partition("(")[0].partition("::")[2]
        apart = worst(made, wanted)
        if wanted.dtype == torch.float32:
            most = ROUGHER.get(name, 4)
        else:  # narrow floats: the CPU rounds parts of some
            most = max(2, ROUGHER.get(name, 0)) if wanted.dtype.is_floating_point else 0
        if apart > most and name not in IGNORED:
            tiny = torch.finfo(torch.float32).tiny
            try:  # subnormal numbers are zero on the device
                assert_close(made, wanted, equal_nan=True, rtol=0, atol=tiny)
            except AssertionError:
                wrong.append(f"{text}: {apart}")
    assert not wrong


def _particular() -> Iterator[tuple[Any, ...]]:
    """An operator, and arguments with which torch does what others do not."""
    x = torch.tensor(SPECIAL)
    half = torch.linspace(-9, 9, 64)
    narrow = half.to(torch.bfloat16)
    i = torch.tensor([-7, -1, 0, 1, 44, 2**24 + 1, 2**62, -(2**63)])
    u = torch.tensor([0, 1, 44, 200, 255], dtype=torch.uint8)
    flags = torch.tensor([True, False] * 32)
    single = torch.tensor(1 / 3)
    # Numbers beyond a dtype wrap, and integers meet floats in float32.
    yield from ((aten.add.Tensor, u, 300), (aten.mul.Tensor, u, -1))
    yield from ((aten.eq.Scalar, u, 300), (aten.lt.Scalar, u, -1))
    yield from ((aten.eq.Scalar, i, 2.0**24), (aten.le.Scalar, i, 2**62))
    yield from ((aten.eq.Tensor, u, torch.tensor(44.0)), (aten.add.Tensor, flags, 1))
    # Which numbers are rounded to a narrow dtype before they are used.
    for op in (aten.add.Tensor, aten.mul.Tensor, aten.div.Tensor):
        yield from ((op, narrow, 0.1), (op, narrow, single))
        yield from ((op, half.half(), 0.1), (op, half.half(), single))
    yield from ((aten.fmod.Scalar, narrow, 0.1), (aten.hardshrink, narrow, 0.6))
    yield (aten.remainder.Scalar_Tensor, 70000.5, narrow)
    yield from (
        (aten.pow.Tensor_Scalar, narrow, 3),
        (aten.xlogy.Tensor, narrow, narrow),
    )
    # Quotients, of numbers of both signs.
    for mode in ("floor", "trunc"):
        yield (aten.div.Tensor_mode, narrow, narrow.flip(0) + 0.3, mode)
        yield (aten.div.Scalar_mode, narrow, 0.1, mode)
        yield (aten.div.Scalar_mode, i, -3, mode)
    yield from ((aten.remainder.Scalar, i, -3), (aten.fmod.Scalar, i, -3))
    yield from ((aten.remainder.Scalar, x, -0.7), (aten.remainder.Scalar, x, INF))
    # Powers, shifts, roundings, and what is cut.
    yield from ((aten.pow.Tensor_Scalar, i, 3), (aten.pow.Scalar, 3, i))
    yield from ((aten.pow.Tensor_Scalar, x, 0.5), (aten.pow.Tensor_Scalar, x, 0))
    yield from ((aten.pow.Tensor_Scalar, x.half(), p) for p in (0.5, -0.5))
    yield (aten.pow.Tensor_Tensor, i, -i.flip(0))
    yield from ((aten.__rshift__.Scalar, i, 70), (aten.__rshift__.Scalar, i, -1))
    yield from ((aten.__lshift__.Scalar, i, 64), (aten.bitwise_and.Scalar, u, 300))
    yield from ((aten.round, half * 0.5), (aten.round.decimals, half))
    yield from ((aten.clamp, x, NAN), (aten.clamp, x, 5, 3), (aten.clamp, i, 0.5))
    shrinking = (aten.hardshrink_backward, aten.softshrink_backward)
    yield from ((op, x.flip(0)[:16], x[:16], 0.5) for op in shrinking)
    yield (aten.where.ScalarOther, flags, narrow, 0.1)
    yield (aten.masked_fill.Scalar, torch.ones(64, dtype=torch.uint8), flags, 1.5)
    yield (aten.smooth_l1_loss, u.view(torch.int8), u.float())
    yield from ((aten.relu, x), (aten.signbit, x), (aten.nan_to_num, narrow / 0))


def test_where_torch_is_particular() -> None:
    batch = Batch()
    for op, *args in _particular():
        op = getattr(op, "default", op)
        named = {"rounding_mode": args.pop()} if isinstance(args[-1], str) else {}
        named |= {"decimals": 1} if "decimals" in str(op) else {}
        assert batch.add(op, *args, **named), (op, batch.refused)
    for text, made, wanted in batch.run():
        assert made.shape == wanted.shape
        assert worst(made, wanted) <= (2 if wanted.dtype == torch.float32 else 0), text


def test_what_would_be_another_number_has_no_lowering() -> None:
    whole = torch.arange(5)
    batch = Batch()
    for op, *args in (
        (aten.clamp.default, whole.to(torch.uint8), -5),
        (aten.gcd.default, whole, whole),
        (aten.add.Tensor, whole.double(), 1),
        (aten.mul.Tensor, whole.float(), 1j),
    ):
        with pytest.raises(Unsupported):
            lower_operation(op, args, {}, op(*args))
    assert not batch.add(aten.round.decimals, torch.ones(2).bfloat16(), decimals=1)
    assert "aten::round.decimals" in batch.refused


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
def test_special_values(dtype: torch.dtype) -> None:
    check(batch_of(dtype), 60)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
def test_the_device_has_what_lowerings_use(dtype: torch.dtype, tmp_path: Path) -> None:
    artifact = build(batch_of(dtype).module, BuildOptions(directory=tmp_path))
    assert artifact.neff.exists()
