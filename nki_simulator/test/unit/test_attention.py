# SPDX-License-Identifier: MIT-0
from __future__ import annotations

import numpy as np
import pytest

from nki_simulator.src.reference.attention import SPAN, flash_fwd
from nki_simulator.test import expected
from nki_simulator.test.expected import BFLOAT16, DTYPES, check, numbers


def operands(batch, heads, kv_heads, d, queries, keys, dtype=np.float32):
    return (
        numbers(batch, heads, d, queries, dtype=dtype, seed=1),
        numbers(batch, kv_heads, d, keys, dtype=dtype, seed=2),
        numbers(batch, kv_heads, keys, d, dtype=dtype, seed=3),
    )


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 1, 128, 128, 128),
        (1, 1, 1, 64, 640, 640),
        (2, 2, 2, 32, 256, 256),
        (1, 4, 2, 16, 128, 128),
    ],
    ids=lambda shape: "x".join(map(str, shape)),
)
def test_it_is_attention(shape, dtype, causal):
    q, k, v = operands(*shape, dtype=dtype)
    result = flash_fwd(q, k, v, causal=causal)
    check(result, expected.attention(q, k, v, causal=causal), dtype)


@pytest.mark.parametrize("queries", [128, 384])
def test_keys_and_queries_may_differ_in_number(queries):
    q, k, v = operands(1, 1, 1, 64, queries, 256)
    check(flash_fwd(q, k, v), expected.attention(q, k, v), np.float32)


def test_values_may_be_of_another_size_than_keys():
    q, k, _ = operands(1, 2, 1, 17, 128, 256)
    v = numbers(1, 1, 256, 40, seed=3)
    check(flash_fwd(q, k, v), expected.attention(q, k, v), np.float32)


@pytest.mark.parametrize("largest", ["first", "last"])
def test_maxima_of_several_spans_of_keys_are_put_together(largest):
    q, k, v = operands(1, 1, 1, 64, 128, 2 * SPAN + 128)
    k[..., 5 if largest == "first" else -5] *= 20
    check(flash_fwd(q, k, v), expected.attention(q, k, v), np.float32)


def test_a_causal_span_is_hidden_above_the_diagonal_only():
    q, k, v = operands(1, 1, 1, 16, SPAN + 128, SPAN + 128)
    result = flash_fwd(q, k, v, causal=True)
    check(result, expected.attention(q, k, v, causal=True), np.float32)


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_scores_are_scaled(scale):
    q, k, v = operands(1, 1, 1, 64, 128, 256)
    result = flash_fwd(q, k, v, scale=scale)
    check(result, expected.attention(q, k, v, scale), np.float32)


@pytest.mark.parametrize("scale", [1e-30, 1e8])
def test_no_scale_shows_hidden_keys(scale):
    q, k, v = operands(1, 1, 1, 16, 128, 128)
    first = flash_fwd(q, k, v, scale=scale, causal=True)[0, 0, 0]
    np.testing.assert_allclose(first, v[0, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_it_returns_the_logarithms_of_sums_if_asked_to(dtype, causal):
    q, k, v = operands(1, 2, 1, 16, SPAN + 128, SPAN + 128, dtype=dtype)
    result, logs = flash_fwd(q, k, v, scale=0.5, causal=causal, logsumexp=True)
    check(result, expected.attention(q, k, v, 0.5, causal=causal), dtype)
    scores = expected.scores(q, k, 0.5, causal=causal)
    largest = scores.max(axis=-1, keepdims=True)
    sums = np.exp(scores - largest).sum(axis=-1, keepdims=True)
    check(logs, largest + np.log(sums), np.float32)


def test_large_scores_do_not_overflow():
    q, k, v = operands(1, 1, 1, 128, 128, 256)
    result = flash_fwd(q * 100, k * 100, v, scale=1.0)
    check(result, expected.attention(q * 100, k * 100, v, 1.0), np.float32)


@pytest.mark.parametrize(
    ("shape", "more", "said"),
    [
        ((1, 1, 1, 129, 128, 128), {}, "keys of 129 elements"),
        ((1, 1, 1, 64, 100, 128), {}, "100 queries"),
        ((1, 1, 1, 64, 128, 256), {"causal": True}, "256 keys"),
        ((1, 3, 2, 64, 128, 128), {}, "k has the shape"),
        ((1, 1, 1, 64, 128, 128), {"scale": 0.0}, "above 0"),
        ((1, 1, 1, 64, 128, 128), {"scale": float("nan")}, "above 0"),
    ],
)
def test_what_it_does_not_take_is_refused(shape, more, said):
    with pytest.raises(ValueError, match=said):
        flash_fwd(*operands(*shape, dtype=BFLOAT16), **more)


def test_values_of_another_shape_are_refused():
    q, k, v = operands(1, 1, 1, 64, 128, 128)
    with pytest.raises(ValueError, match="values of 192"):
        flash_fwd(q, k, np.concatenate([v, v, v], axis=3))
    with pytest.raises(ValueError, match="v has the shape"):
        flash_fwd(q, k, np.concatenate([v, v], axis=2))


def test_other_dtypes_are_refused():
    q, k, v = operands(1, 1, 1, 64, 128, 128)
    with pytest.raises(ValueError, match="q is float16"):
        flash_fwd(*(t.astype(np.float16) for t in (q, k, v)))
    with pytest.raises(ValueError, match="v bfloat16"):
        flash_fwd(q, k, v.astype(BFLOAT16))
