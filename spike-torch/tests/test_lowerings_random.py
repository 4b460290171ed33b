"""Random numbers of lowerings: the generator, and what is drawn by it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from nkipy.execution import simulate
from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOModule
from spike_torch.lowering import Unsupported
from spike_torch.lowering.random_bits import SEED, threefry
from spike_torch.tensors import array_of, numpy_dtype

from .lowered_operation import lower_operation
from .lowering_graphs import draw_padded

aten = torch.ops.aten
COUNT = 20_000


def _draw(
    op: Any, *args: Any, seed: tuple[int, int] = (7, 11), **kwargs: Any
) -> list[np.ndarray]:
    """What the program of one call makes, whose dtype and shape are torch's."""
    returned = op(*args, **kwargs)
    program = lower_operation(op, args, kwargs, returned, seeded=True)
    given = [a for a in args if isinstance(a, torch.Tensor)]
    inputs = {f"input{i}": array_of(x) for i, x in enumerate(given)}
    if SEED in [p.name for p in program.module.inputs]:
        inputs[SEED] = np.array(seed, np.uint32)
    made = simulate(program.module).bind({})(inputs)
    arrays = [np.asarray(made[spec.name]) for spec in program.module.outputs]
    wanted = returned if isinstance(returned, tuple) else (returned,)
    for array, truth in zip(arrays, wanted, strict=True):
        assert array.dtype == numpy_dtype(truth.dtype)
        assert array.shape == tuple(truth.shape)
    return arrays


def _distance(drawn: np.ndarray, below: Callable[[float], float]) -> float:
    """Kolmogorov's and Smirnov's: how far the distribution is from another."""
    ordered = np.sort(drawn.astype(np.float64).reshape(-1))
    theirs = np.array([below(x) for x in ordered])
    n = len(ordered)
    above = np.arange(1, n + 1) / n - theirs
    under = theirs - np.arange(n) / n
    return float(max(above.max(), under.max()))


def _is_of(drawn: np.ndarray, below: Callable[[float], float]) -> bool:
    """At a significance of 0.001."""
    return _distance(drawn, below) < 1.95 / math.sqrt(drawn.size)


def _below_normal(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


# The generator's authors give these with it (kat_vectors of Random123, threefry2x32,
# 20 rounds): counter, key, result.
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    (
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x1CB996FC, 0xBB002BE7),
    ),
    (
        (0x243F6A88, 0x85A308D3),
        (0x13198A2E, 0x03707344),
        (0xC4923A9C, 0x483DF7A0),
    ),
]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_generator_has_its_known_answers(
    counter: tuple[int, int], key: tuple[int, int], result: tuple[int, int]
) -> None:
    module = HLOModule("known")
    b = HLOBuilder(module.entry)
    given = [module.add_parameter((1,), dt.uint32, f"x{i}") for i in range(4)]
    module.set_results(list(threefry(b, (given[0], given[1]), (given[2], given[3]))))
    words = (*key, *counter)
    inputs = {f"x{i}": np.array([word], np.uint32) for i, word in enumerate(words)}
    made = simulate(module).bind({})(inputs)
    found = tuple(int(made[spec.name][0]) for spec in module.outputs)
    assert found == result


def test_uniform_numbers_are_uniform() -> None:
    (x,) = _draw(aten.rand.default, [COUNT])
    assert x.min() >= 0 and x.max() < 1
    assert _is_of(x, lambda v: v)
    assert np.array_equal(x * 2**24, np.round(x * 2**24))
    assert abs(np.corrcoef(x[1:], x[:-1])[0, 1]) < 0.03
    (y,) = _draw(aten.uniform.default, torch.empty(COUNT), -2.0, 3.0)
    assert _is_of(y, lambda v: (v + 2) / 5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_uniform_numbers_are_less_than_one(dtype: torch.dtype) -> None:
    (x,) = _draw(aten.rand.default, [COUNT], dtype=dtype)
    wide = x.astype(np.float64)
    assert wide.min() >= 0 and wide.max() < 1
    assert abs(wide.mean() - 0.5) < 0.01


def test_normal_numbers_are_normal() -> None:
    (x,) = _draw(aten.randn.default, [100, COUNT // 100])
    assert np.isfinite(x).all()
    assert _is_of(x, _below_normal)
    assert abs(x.var() - 1) < 0.04
    (y,) = _draw(aten.normal_functional.default, torch.empty(COUNT), 2.0, 3.0)
    assert _is_of((y - 2) / 3, _below_normal)
    mean = torch.arange(2.0).reshape(2, 1).expand(2, COUNT // 2)
    (z,) = _draw(aten.normal.Tensor_float, mean, 0.5)
    assert _is_of((z - mean.numpy()) / 0.5, _below_normal)


@pytest.mark.slow
def test_other_distributions() -> None:
    x = torch.empty(COUNT)
    (waits,) = _draw(aten.exponential.default, x, 2.0)
    assert waits.min() > 0 and _is_of(waits, lambda v: 1 - math.exp(-2 * v))
    (slopes,) = _draw(aten.cauchy.default, x, 1.0, 2.0)
    assert _is_of(slopes, lambda v: 0.5 + math.atan((v - 1) / 2) / math.pi)
    (sizes,) = _draw(aten.log_normal.default, x, 0.5, 1.5)
    assert _is_of(np.log(sizes), lambda v: _below_normal((v - 0.5) / 1.5))
    (trials,) = _draw(aten.geometric.default, x, 0.3)
    assert trials.min() == 1
    for k in (1, 2, 5):
        assert abs((trials == k).mean() - 0.3 * 0.7 ** (k - 1)) < 0.012


def test_integers_are_all_as_frequent() -> None:
    (x,) = _draw(aten.randint.low, -3, 5, [COUNT])
    values, counts = np.unique(x, return_counts=True)
    assert values.tolist() == list(range(-3, 5))
    expected = COUNT / 8
    assert ((counts - expected) ** 2 / expected).sum() < 24.3  # 7 degrees, 0.001
    (y,) = _draw(aten.randint.default, 2, [COUNT], dtype=torch.float32)
    assert set(np.unique(y)) == {0.0, 1.0}
    (z,) = _draw(aten.randint_like.default, torch.empty(9, dtype=torch.int32), 1)
    assert not z.any()
    with pytest.raises(Unsupported, match="range"):
        _draw(aten.randint.default, 1 << 40, [3])


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool])
@pytest.mark.slow
def test_random_has_all_nonnegative_integers(dtype: torch.dtype) -> None:
    (x,) = _draw(aten.random.default, torch.empty(COUNT, dtype=dtype))
    most = 1 if dtype == torch.bool else torch.iinfo(dtype).max
    part = x.astype(np.float64) / most
    assert part.min() >= 0 and part.max() > 0.99
    assert abs(part.mean() - 0.5) < 0.02


def test_bernoulli() -> None:
    (x,) = _draw(aten.bernoulli.p, torch.empty(COUNT), 0.2)
    assert set(np.unique(x)) == {0.0, 1.0} and abs(x.mean() - 0.2) < 0.01
    for p in (0.0, 1.0):
        assert (_draw(aten.bernoulli.p, torch.empty(999), p)[0] == p).all()
    each = torch.tensor([0.0, 0.75, 1.0]).repeat(COUNT // 3, 1)
    (y,) = _draw(aten.bernoulli.default, each)
    assert y[:, 0].max() == 0 and y[:, 2].min() == 1
    assert abs(y[:, 1].mean() - 0.75) < 0.02


def test_dropout() -> None:
    x = torch.randn(COUNT)
    made, mask = _draw(aten.native_dropout.default, x, 0.25, True)
    assert abs(mask.mean() - 0.75) < 0.012
    assert np.allclose(made, np.where(mask, x.numpy() / 0.75, 0))
    made, mask = _draw(aten.native_dropout.default, x[:50], 0.25, None)
    assert 0 < mask.sum() < 50
    for train, p in ((False, 0.5), (True, 0.0)):
        made, mask = _draw(aten.native_dropout.default, x[:50], p, train)
        assert np.array_equal(made, x[:50].numpy()) and mask.all()
    made, mask = _draw(aten.native_dropout.default, x[:50], 1.0, True)
    assert not made.any() and not mask.any()
    bad = torch.tensor([math.nan, math.inf])
    made, mask = _draw(aten.native_dropout.default, bad, 1.0, True)
    assert np.isnan(made).all()  # as on the CPU: it multiplies by 0


def test_slopes_that_are_drawn() -> None:
    x = torch.randn(COUNT)
    given = x, torch.zeros(COUNT), 0.25, 0.75
    made, noise = _draw(aten.rrelu_with_noise_functional.default, *given, True)
    assert np.array_equal(noise == 1, x.numpy() > 0)
    drawn = noise[noise != 1]
    assert _distance(drawn, lambda v: min(max(2 * v - 0.5, 0), 1)) < 0.02
    assert np.array_equal(made, x.numpy() * noise)
    made, noise = _draw(aten.rrelu_with_noise_functional.default, *given, False)
    assert np.array_equal(made, np.where(x > 0, x, x * 0.5)) and not noise.any()


@pytest.mark.slow
def test_permutations() -> None:
    (x,) = _draw(aten.randperm.default, 500)
    assert sorted(x.tolist()) == list(range(500)) and x.tolist() != sorted(x.tolist())
    firsts = [
        int(_draw(aten.randperm.default, 3, seed=(s, 0))[0][0]) for s in range(60)
    ]
    counts = np.bincount(firsts, minlength=3)
    assert ((counts - 20) ** 2 / 20).sum() < 13.8
    with pytest.raises(Unsupported, match="orders"):
        _draw(aten.randperm.default, 5000)


def test_multinomial_draws_by_weight() -> None:
    weights = torch.tensor([[1.0, 0.0, 3.0], [0.0, 0.0, 2.0]])
    (x,) = _draw(aten.multinomial.default, weights, COUNT // 4, True)
    counts = np.bincount(x[0], minlength=3)
    assert counts[1] == 0 and abs(counts[0] / counts.sum() - 0.25) < 0.03
    assert (x[1] == 2).all()
    (y,) = _draw(aten.multinomial.default, weights[0], 1)
    assert y[0] in (0, 2)


@pytest.mark.slow
def test_multinomial_without_putting_back() -> None:
    weights = torch.tensor([1.0, 0.0, 3.0, 2.0]).repeat(COUNT // 10, 1)
    (x,) = _draw(aten.multinomial.default, weights, 3)
    assert (np.sort(x, 1) == [0, 2, 3]).all()
    firsts = np.bincount(x[:, 0], minlength=4) / len(x)
    assert np.abs(firsts - [1 / 6, 0, 3 / 6, 2 / 6]).max() < 0.04
    after = x[x[:, 0] == 2, 1]  # of what is left when the heaviest is gone
    assert abs((after == 0).mean() - 1 / 3) < 0.05
    (y,) = draw_padded(lambda w: aten.multinomial(w, 3), weights[:7])
    assert (np.sort(y, 1) == [0, 2, 3]).all()


def test_a_seed_says_the_numbers() -> None:
    (x,) = _draw(aten.rand.default, [100])
    assert np.array_equal(x, _draw(aten.rand.default, [100])[0])
    for seed in ((7, 12), (8, 11)):
        assert not np.isin(x, _draw(aten.rand.default, [100], seed=seed)[0]).any()


def test_each_draw_of_a_program_is_another() -> None:
    made = _draw(aten.cauchy.default, torch.empty(50))
    again = _draw(aten.rand.default, [50])
    assert not np.array_equal(made[0], again[0])
    from spike_torch.lowering import Graph
    from spike_torch.lowering.random_bits import uniform

    g = Graph(seeded=True)
    drawn = [uniform(g, g.dims([64])) for _ in range(2)]
    g.module.set_results([x.value for x in drawn])
    found = simulate(g.module).bind({})({SEED: np.array([1, 2], np.uint32)})
    one, other = (found[spec.name] for spec in g.module.outputs)
    assert not np.isin(one, other).any()


def test_without_a_seed_it_runs_eagerly() -> None:
    with pytest.raises(Unsupported, match="seed"):
        lower_operation(aten.rand.default, ([3],), {}, torch.rand(3))


def test_numbers_are_of_no_integer_dtype() -> None:
    x = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(Unsupported, match="int64"):
        lower_operation(aten.normal_functional.default, (x,), {}, x, seeded=True)


_X = torch.ones(4, 5)
_N = torch.ones(4, 5, dtype=torch.int64)
OTHERS = [
    (aten.rand_like.default, (_X,), {}),
    (aten.rand_like.default, (_N,), {"dtype": torch.float16}),
    (aten.randn_like.default, (_X,), {"dtype": torch.bfloat16}),
    (aten.randint_like.low_dtype, (_X, 3, 4), {}),
    (aten.normal.float_float, (2.0, 0.0, [3, 2]), {}),
    (aten.normal.Tensor_Tensor, (_X, 0 * _X[0]), {}),
    (aten.normal.float_Tensor, (1.0, 0 * _X), {}),
    (getattr(aten.random, "from"), (_N, 7, 8), {}),
    (aten.random.to, (_N, 1), {}),
    (aten.uniform.default, (_X.to(torch.bfloat16), 1.0, 1.0), {}),
    (aten.exponential.default, (_X.to(torch.float16),), {}),
]


@pytest.mark.parametrize(("op", "args", "kwargs"), OTHERS, ids=lambda x: str(x)[:20])
@pytest.mark.slow
def test_other_overloads(op: Any, args: Any, kwargs: Any) -> None:
    (x,) = _draw(op, *args, **kwargs)
    wanted = op(*args, **kwargs).double().numpy()
    if (wanted == wanted.flat[0]).all():  # then there is nothing to draw
        assert np.array_equal(x.astype(np.float64), wanted)
    else:
        assert np.isfinite(x.astype(np.float64)).all() and len(np.unique(x)) > 10


def test_padding_has_no_say_in_what_is_kept() -> None:
    def dropped(x: torch.Tensor) -> Any:
        return aten.native_dropout(x, 0.5, True)

    x = torch.arange(1.0, 61.0).reshape(6, 10)
    made, mask = draw_padded(dropped, x)
    assert 10 < mask.sum() < 50
    assert np.array_equal(made, np.where(mask, x.numpy() * 2, 0))
    (drawn,) = draw_padded(lambda x: aten.multinomial(x, 40, True), x)
    assert drawn.min() >= 0 and drawn.max() < 10
