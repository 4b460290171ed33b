"""Activation functions, against Python's math module number by number."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from nkipy_nki import activations
from nkipy_nki.computing import compute
from nkipy_nki.operators import OPERATIONS

ROOT_2 = math.sqrt(2)


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def density(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def probability(x: float) -> float:
    return math.erfc(-x / ROOT_2) / 2


def log1p_exp(x: float) -> float:
    return max(x, 0) + math.log1p(math.exp(-abs(x)))


def gelu_by_tanh(x: float) -> float:
    a = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return x * logistic(2 * a)  # (1 + tanh(a)) / 2


def slope_of(product: float) -> Callable[[float], float]:
    def slope(x: float) -> float:
        s = logistic(product * x)
        return s + product * x * s * logistic(-product * x)

    return slope


EXPECTED: dict[str, Callable[[float], float]] = {
    "sigmoid": logistic,
    "silu": lambda x: x * logistic(x),
    "silu_dx": slope_of(1),
    "gelu": lambda x: x * probability(x),
    "gelu_dx": lambda x: probability(x) + x * density(x),
    "gelu_apprx_sigmoid": lambda x: x * logistic(1.702 * x),
    "gelu_apprx_sigmoid_dx": slope_of(1.702),
    "gelu_apprx_tanh": gelu_by_tanh,
    "softplus": log1p_exp,
    "mish": lambda x: x * math.tanh(log1p_exp(x)),
    "erf": math.erf,
    "erf_dx": lambda x: 2 / math.sqrt(math.pi) * math.exp(-x * x),
    "relu": lambda x: max(x, 0.0),
    "square": lambda x: x * x,
    "tanh": math.tanh,
    "exp": math.exp,
    "sign": lambda x: math.copysign(1, x) if x else 0.0,
    "abs": abs,
    "copy": lambda x: x,
    "arctan": math.atan,
}
#: Of numbers above 0.
POSITIVE: dict[str, Callable[[float], float]] = {
    "log": math.log,
    "sqrt": math.sqrt,
    "rsqrt": lambda x: 1 / math.sqrt(x),
    "reciprocal": lambda x: 1 / x,
}


def numbers() -> np.ndarray:
    rng = np.random.default_rng(5)
    small = np.exp(rng.uniform(-30, 2, 4000)) * rng.choice([-1, 1], 4000)
    return np.concatenate([rng.uniform(-12, 12, 8000), small, [0.0, 1, -1, 2, 80]])


def ulps(made: np.ndarray, expected: list[float]) -> np.ndarray:
    """The error of each number, in the last places of what is expected."""
    exact = np.array(expected)
    place = np.spacing(np.abs(exact.astype(np.float32))).astype(np.float64)
    return np.abs(made - exact) / place


def test_every_activation_function_is_tried() -> None:
    names = {n for n, o in OPERATIONS.items() if "activation" in o.since}
    assert names == EXPECTED.keys() | POSITIVE.keys() | {"sin", "prelu"}


@pytest.mark.parametrize("name", EXPECTED)
def test_functions_of_all_numbers(name: str) -> None:
    x = numbers().astype(np.float32)
    expected = [EXPECTED[name](v) for v in x.tolist()]
    made = OPERATIONS[name](x)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, np.array(expected), rtol=4e-6, atol=3e-7)


@pytest.mark.parametrize("name", POSITIVE)
def test_functions_of_positive_numbers(name: str) -> None:
    x = np.abs(numbers()[:-6]).astype(np.float32)
    expected = [POSITIVE[name](v) for v in x.tolist()]
    np.testing.assert_allclose(OPERATIONS[name](x), expected, rtol=1e-6, atol=1e-7)


def test_erf_to_two_units_in_the_last_place() -> None:
    spread = [np.linspace(-5, 5, 60_001), np.exp(np.linspace(-40, 1.5, 20_000))]
    x = np.concatenate(spread).astype(np.float32)
    made = activations.erf(x)
    assert ulps(made, [math.erf(v) for v in x.tolist()]).max() < 2
    assert np.abs(made).max() == 1


@pytest.mark.parametrize(
    ("name", "lowest"), [("sigmoid", -87), ("silu", -87), ("gelu", -12)]
)
def test_tails_are_right_to_the_end(name: str, lowest: float) -> None:
    """What is near 0 has its digits too, not only its first zeros."""
    x = np.linspace(lowest, -2, 3000).astype(np.float32)
    expected = [EXPECTED[name](v) for v in x.tolist()]
    np.testing.assert_allclose(OPERATIONS[name](x), expected, rtol=2e-5)


@pytest.mark.parametrize(
    ("name", "below", "above"),
    [
        ("sigmoid", 0, 1),
        ("silu", 0, math.inf),
        ("silu_dx", 0, 1),
        ("gelu", 0, math.inf),
        ("gelu_dx", 0, 1),
        ("gelu_apprx_sigmoid", 0, math.inf),
        ("gelu_apprx_sigmoid_dx", 0, 1),
        ("gelu_apprx_tanh", 0, math.inf),
        ("softplus", 0, math.inf),
        ("mish", 0, math.inf),
        ("erf", -1, 1),
        ("erf_dx", 0, 0),
        ("relu", 0, math.inf),
        ("tanh", -1, 1),
        ("exp", 0, math.inf),
    ],
)
def test_limits_and_nan(name: str, below: float, above: float) -> None:
    greatest = float(np.finfo(np.float32).max)
    x = np.array([-math.inf, -greatest, greatest, math.inf, math.nan], np.float32)
    with np.errstate(all="raise"):  # no warning leaves an operation
        made = OPERATIONS[name](x)
    assert np.isnan(made[4])
    assert made[0] == below and made[3] == above
    assert made[1] == below
    assert made[2] == above or (above == math.inf and made[2] >= x[2])


@pytest.mark.parametrize(
    "name", ["erf", "gelu", "gelu_dx", "silu", "mish", "sin", "exp", "tanh", "cos"]
)
def test_results_depend_on_values_alone(name: str) -> None:
    """Not on the layout, on what else is in the array, or on the thread."""
    function = partial(compute, OPERATIONS[name])
    x = np.random.default_rng(6).normal(0, 2, (300, 260)).astype(np.float32)
    before = x.copy()
    whole = function(x)
    assert whole.shape == x.shape
    assert function(x.T).T.tobytes() == whole.tobytes()
    assert function(x[::3, 1::2]).tobytes() == whole[::3, 1::2].tobytes()
    with ThreadPoolExecutor(4) as pool:
        rows = pool.map(function, x)
        assert np.stack(list(rows)).tobytes() == whole.tobytes()
    assert x.tobytes() == before.tobytes()
    assert function(x[:0]).shape == (0, 260)


def test_sin_goes_on_with_a_cubic_beyond_pi() -> None:
    inner = np.linspace(-3.14, 3.14, 500).astype(np.float32)
    made = activations.sin(inner)
    np.testing.assert_allclose(made, [math.sin(v) for v in inner.tolist()], atol=2e-7)
    # The documented figure, and what is chosen to reach it.
    assert activations.sin(np.array([9], np.float32))[0] == pytest.approx(27.65, 1e-4)
    x = np.array([3.2, 4, 6, 9, 100], np.float32)
    distance = x.astype(np.float64) - math.pi
    cubic = (27.65 + 9 - math.pi) / (9 - math.pi) ** 3
    np.testing.assert_allclose(
        activations.sin(x), cubic * distance**3 - distance, rtol=1e-5
    )
    assert (activations.sin(-x) == -activations.sin(x)).all()
    edge = np.array([math.pi - 1e-3, math.pi + 1e-3], np.float32)
    np.testing.assert_allclose(activations.sin(edge), [1e-3, -1e-3], atol=1e-6)


def test_angles_are_reduced_by_whole_turns() -> None:
    x = np.random.default_rng(7).uniform(-1e4, 1e4, 3000).astype(np.float32)
    reduced = activations.reduce_angle(x)
    assert (np.abs(reduced) <= np.float32(math.pi)).all()
    expected = [math.sin(v) for v in x.tolist()]
    np.testing.assert_allclose(activations.sin(reduced), expected, atol=1e-6)


def test_prelu_takes_its_slope() -> None:
    x = np.array([[-2, -0.5, 0, 3]], np.float32)
    prelu = OPERATIONS["prelu"]
    assert prelu(x, np.float32(0.25)).tolist() == [[-0.5, -0.125, 0, 3]]
    slopes = np.array([[0.5], [2]], np.float32)
    assert prelu(np.repeat(x, 2, 0), slopes).tolist() == [
        [-1, -0.25, 0, 3],
        [-4, -1, 0, 3],
    ]
