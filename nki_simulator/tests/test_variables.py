"""What environment variables may say, and what is said of all else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.collectives as ncc
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy_nki.collectives import ReplicaGroup

X = np.ones((4, 6), np.float32)


@nki.jit
def kernel(x: Any) -> Any:
    """Reads what depends on each of the variables."""
    src = nl.ndarray(x.shape, x.dtype, buffer=nl.private_hbm)
    dst = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(src, x)
    ncc.all_reduce([src], [dst], ReplicaGroup([[0]]), nl.add)
    return dst, nl.tile_size.psum_num_banks


def run() -> Any:
    return nki.simulate_ranks(kernel, [(X,)])[0].values


SOUND = {
    "NKI_DMA_TRANSPOSE_AS_PE_TRANSPOSE": ("", "0", "true", "ON"),
    "NKI_LNC1_SHARED_HBM": ("1", "true"),
    "NKI_PRECISE_FP": ("", "no", "1"),
    "NKI_SIMULATOR": ("", "0", "1"),
    "NEURON_LOGICAL_NC_CONFIG": ("", "1"),
    "NEURON_PLATFORM_TARGET_OVERRIDE": ("", "trn2"),
    "NKIPY_NKI_FINDINGS": ("", "capacity=off"),
}


@pytest.mark.parametrize("variable", SOUND)
def test_a_variable_that_makes_no_sense_is_named(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NKI_LNC1_SHARED_HBM", "1")
    for value in SOUND[variable]:
        monkeypatch.setenv(variable, value)
        (result, banks) = run()
        np.testing.assert_array_equal(result, X)
        kept = variable.startswith("NKI_DMA") and value in ("true", "ON")
        assert banks == 8 - kept
    monkeypatch.setenv(variable, "banana")
    with pytest.raises(nki.NkiValidationError, match=f"{variable}='banana'"):
        run()
