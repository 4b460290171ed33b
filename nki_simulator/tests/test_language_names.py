"""Names that the documentation of ``nki.language`` has, and what they say."""

from __future__ import annotations

from typing import Any

import pytest

import nkipy_nki as nki
import nkipy_nki.language as nl
from nki_simulator.tests.language_functions import (
    numbers,
)
from nkipy_nki import NkiValidationError
from nkipy_nki.operators import OPERATIONS, find_operation

DOCUMENTED = """
    ndarray zeros ones full zeros_like empty_like rand random_seed shared_constant
    shared_identity_matrix load store load_transpose2d copy broadcast_to expand_dims
    gather_flattened where matmul transpose affine_range sequential_range static_range
    dynamic_range fori_loop while_loop ds no_reorder program_id num_programs
    program_ndim abs abs_max abs_min add arctan ceil cos divide exp floor fmod log
    maximum minimum mod multiply negative power reciprocal rsqrt sign sin sqrt square
    subtract tan tanh trunc relu sigmoid silu silu_dx gelu gelu_dx gelu_apprx_sigmoid
    gelu_apprx_sigmoid_dx gelu_apprx_tanh mish softplus erf erf_dx softmax dropout
    rms_norm sum prod max min mean var all equal not_equal less less_equal greater
    greater_equal logical_and logical_or logical_xor logical_not bitwise_and bitwise_or
    bitwise_xor invert left_shift right_shift prelu bypass average device_print
    tile_size sbuf psum hbm private_hbm shared_hbm MemoryRegion NKIObject NkiTensor
    is_hbm is_psum is_sbuf is_on_chip DType bool_ int8 int16 int32 int64 uint8 uint16
    uint32 float16 bfloat16 tfloat32 float32 float8_e4m3 float8_e4m3fn float8_e5m2
    float8_e8m0fnu float8_e5m2_x4 float8_e4m3fn_x4 float4_e2m1fn_x4 tiles blocks
    alloc_tiles alloc_blocks NkiGrid NkiTileGrid NkiBlockGrid bool range
""".split()


def test_documented_names_are_there() -> None:
    assert [name for name in DOCUMENTED if not hasattr(nl, name)] == []
    assert set(DOCUMENTED) <= set(nl.__all__)


def test_each_operation_has_its_token() -> None:
    for name, operation in OPERATIONS.items():
        token = getattr(nl, name)
        assert getattr(token, "operation", token) is operation
    kinds = ("arithmetic", "activation", "special")
    assert find_operation(nl.max, kinds).name == "maximum"
    assert find_operation(nl.min, kinds).name == "minimum"
    assert find_operation(nl.sum, kinds).name == "add"
    assert find_operation(nl.prod, kinds).name == "multiply"
    assert find_operation(nl.mean, kinds).name == "average"


def test_memories() -> None:
    def kernel(x: Any) -> Any:
        tile = nl.load(x)
        assert nl.is_sbuf(tile) and nl.is_on_chip(tile) and not nl.is_psum(tile)
        assert nl.is_hbm(x) and not nl.is_on_chip(x)
        assert nl.is_psum(nl.psum) and nl.is_hbm(nl.shared_hbm)
        with pytest.raises(NkiValidationError, match="neither a memory"):
            nl.is_sbuf("sbuf")
        return x

    nki.simulate(kernel)(numbers())


@pytest.mark.parametrize(
    "target, sbuf", [("trn1", 192 << 10), ("trn2", 224 << 10), ("trn3", 256 << 10)]
)
def test_sizes_of_tiles(
    target: str, sbuf: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURON_PLATFORM_TARGET_OVERRIDE", target)
    size = nl.tile_size
    assert (size.pmax, size.psum_bank_fmax, size.psum_bank_fmax_bytes) == (
        128,
        512,
        2048,
    )
    assert size.gemm_stationary_fmax == 128
    assert size.gemm_moving_fmax == size.bn_stats_fmax == 512
    assert (size.sbuf_fmax_bytes, size.sbuf_fmax) == (sbuf, sbuf // 4)
    assert size.sbuf_size_bytes == 128 * sbuf
    assert size.psum_num_banks == 8
    monkeypatch.setenv("NKI_DMA_TRANSPOSE_AS_PE_TRANSPOSE", "true")
    assert size.psum_num_banks == (8 if target == "trn1" else 7)
    with pytest.warns(DeprecationWarning, match="psum_bank_fmax"):
        assert size.psum_fmax == 512
    with pytest.warns(DeprecationWarning, match="deprecated"):
        assert size.total_available_sbuf_size == sbuf - 16384 - 8


def test_objects_of_kernels() -> None:
    class Pair(nl.NKIObject):
        pass

    pair = Pair(one=1)
    pair.two = 2  # type: ignore[attr-defined]
    assert vars(pair) == {"one": 1, "two": 2}
