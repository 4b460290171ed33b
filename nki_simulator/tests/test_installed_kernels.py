"""Kernels that are installed with the language, for others to find."""

from __future__ import annotations

import nki
import numpy as np
import pytest

from nkipy.hlo.entry_points import load, offers


def test_flash_attention_is_offered() -> None:
    (offer,) = (o for o in offers("nkipy.kernels") if o.name == "flash_attention")
    kernel = load(offer)
    q, k = np.random.default_rng(0).standard_normal((2, 1, 1, 16, 128), np.float32)
    v = k.swapaxes(-1, -2)
    scores = np.exp(q.swapaxes(-1, -2) @ k / 4)
    expected = scores @ v / scores.sum(-1, keepdims=True)
    np.testing.assert_allclose(kernel(q, k, v), expected, rtol=1e-4, atol=1e-5)


def test_errors_in_it_have_its_lines() -> None:
    from nkipy_nki.reference.attention import flash_fwd

    q = np.ones((1, 1, 16, 64 * 1024), np.float32)
    with pytest.raises(nki.NkiValidationError, match=r"reference/attention\.py:\d+"):
        flash_fwd(q[..., :128], q, q.swapaxes(-1, -2))
