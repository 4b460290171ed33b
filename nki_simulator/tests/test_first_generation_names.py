"""What the first generation's documentation names is there, or is refused by name.

The lists are those of its pages for SDK 2.21 to 2.26, with the signatures that they
give. Their ``**kwargs``, for the compiler, are left out here.
"""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pytest

from nkipy_nki import NkiValidationError
from nkipy_nki.findings import NkiWarning
from nkipy_nki.neuronxcc import nki
from nkipy_nki.neuronxcc.nki import compiler, isa, language, typing
from nkipy_nki.neuronxcc.nki.tiles import Tile

_UNARY = """abs arctan ceil cos erf erf_dx exp floor gelu gelu_apprx_sigmoid
gelu_apprx_tanh gelu_dx invert log mish negative reciprocal relu rsqrt sigmoid sign silu
silu_dx sin softplus sqrt square tan tanh trunc"""
_BINARY = """add bitwise_and bitwise_or bitwise_xor divide fmod left_shift maximum
minimum mod multiply power right_shift subtract"""
_TRUTHS = """equal greater greater_equal less less_equal logical_and logical_or
logical_xor not_equal"""
_REDUCTIONS = "max min prod sum"

LANGUAGE = [
    *(f"{name}(x, *, dtype=None, mask=None)" for name in _UNARY.split()),
    *(f"{name}(x, y, *, dtype=None, mask=None)" for name in _BINARY.split()),
    *(f"{name}(x, y, *, dtype=bool, mask=None)" for name in _TRUTHS.split()),
    *(
        f"{name}(x, axis, *, dtype=None, mask=None, keepdims=False)"
        for name in _REDUCTIONS.split()
    ),
    "logical_not(x, *, dtype=bool, mask=None)",
    "mean(x, axis, *, dtype=None, mask=None, keepdims=False)",
    "var(x, axis, *, dtype=None, mask=None)",
    "all(x, axis, *, dtype=bool, mask=None)",
    "softmax(x, axis, *, dtype=None, compute_dtype=None, mask=None)",
    "rms_norm(x, w, axis, n, epsilon=1e-06, *, dtype=None, compute_dtype=None, "
    "mask=None)",
    "dropout(x, rate, *, dtype=None, mask=None)",
    "matmul(x, y, *, transpose_x=False, mask=None)",
    "transpose(x, *, dtype=None, mask=None)",
    "load(src, *, mask=None, dtype=None)",
    "store(dst, value, *, mask=None)",
    "load_transpose2d(src, *, mask=None, dtype=None)",
    "atomic_rmw(dst, value, op, *, mask=None)",
    "copy(src, *, mask=None, dtype=None)",
    "ndarray(shape, dtype, *, buffer=None, name='')",
    "zeros(shape, dtype, *, buffer=None, name='')",
    "ones(shape, dtype, *, buffer=None, name='')",
    "full(shape, fill_value, dtype, *, buffer=None, name='')",
    "empty_like(a, dtype=None, *, buffer=None, name='')",
    "zeros_like(a, dtype=None, *, buffer=None, name='')",
    "rand(shape, dtype='float32')",
    "random_seed(seed, *, mask=None)",
    "shared_constant(constant, dtype=None)",
    "shared_identity_matrix(n, dtype='uint8')",
    "static_cast(input_data, dtype)",
    "finfo(dtype)",
    "ds(start, size)",
    "expand_dims(data, axis)",
    "broadcast_to(src, *, shape)",
    "gather_flattened(data, indices, *, mask=None, dtype=None)",
    "where(condition, x, y, *, dtype=None, mask=None)",
    "arange(*args)",
    "static_range(*args)",
    "affine_range(*args)",
    "sequential_range(*args)",
    "loop_reduce(x, op, loop_indices, *, dtype=None, mask=None)",
    "program_id(axis)",
    "num_programs(axes=None)",
    "program_ndim()",
    "device_print(prefix, x, *, mask=None)",
]
ISA = [
    "nc_matmul(stationary, moving, *, is_stationary_onezero=False, "
    "is_moving_onezero=False, is_transpose=False, tile_position=(), tile_size=(), "
    "mask=None)",
    "nc_transpose(data, *, mask=None, dtype=None, engine=engine.unknown)",
    "activation(op, data, *, bias=None, scale=1.0, reduce_op=None, reduce_res=None, "
    "reduce_cmd=reduce_cmd.idle, mask=None, dtype=None)",
    "activation_reduce(op, data, *, reduce_op, reduce_res, bias=None, scale=1.0, "
    "mask=None, dtype=None)",
    "tensor_reduce(op, data, axis, *, mask=None, dtype=None, negate=False, "
    "keepdims=False)",
    "tensor_partition_reduce(op, data, *, mask=None, dtype=None)",
    "tensor_tensor(data1, data2, op, *, dtype=None, mask=None, engine=engine.unknown)",
    "tensor_tensor_scan(data0, data1, initial, op0, op1, reverse0=False, "
    "reverse1=False, *, dtype=None, mask=None)",
    "scalar_tensor_tensor(*, data, op0, operand0, op1, operand1, reverse0=False, "
    "reverse1=False, dtype=None, mask=None)",
    "tensor_scalar(data, op0, operand0, reverse0=False, op1=None, operand1=None, "
    "reverse1=False, *, dtype=None, mask=None, engine=engine.unknown)",
    "tensor_scalar_reduce(*, data, op0, operand0, reduce_op, reduce_res, "
    "reverse0=False, dtype=None, mask=None)",
    "tensor_copy(src, *, mask=None, dtype=None, engine=engine.unknown)",
    "tensor_copy_dynamic_src(src, *, mask=None, dtype=None, engine=engine.unknown)",
    "tensor_copy_dynamic_dst(*, dst, src, mask=None, dtype=None, "
    "engine=engine.unknown)",
    "tensor_copy_predicated(*, src, dst, predicate, mask=None, reverse_pred=False)",
    "reciprocal(data, *, dtype=None, mask=None)",
    "iota(expr, dtype, *, mask=None)",
    "dropout(data, prob, *, mask=None, dtype=None)",
    "affine_select(pred, on_true_tile, on_false_value, *, mask=None, dtype=None)",
    "range_select(*, on_true_tile, comp_op0, comp_op1, bound0, bound1, "
    "reduce_cmd=reduce_cmd.reset_reduce, reduce_res=None, reduce_op='maximum', "
    "range_start=0, on_false_value=fp32_min, mask=None, dtype=None)",
    "select_reduce(*, dst, predicate, on_true, on_false, reduce_res=None, "
    "reduce_cmd=reduce_cmd.idle, reduce_op='maximum', reverse_pred=False, mask=None, "
    "dtype=None)",
    "sequence_bounds(*, segment_ids, dtype=None)",
    "memset(shape, value, dtype, *, mask=None, engine=engine.unknown)",
    "bn_stats(data, *, mask=None, dtype=None)",
    "bn_aggr(data, *, mask=None, dtype=None)",
    "local_gather(src_buffer, index, num_elem_per_idx=1, num_valid_indices=None, *, "
    "mask=None)",
    "dma_copy(*, dst, src, mask=None, dst_rmw_op=None, oob_mode=oob_mode.error, "
    "dge_mode=dge_mode.unknown)",
    "dma_transpose(src, *, axes=None, mask=None, dtype=None)",
    "max8(*, src, mask=None, dtype=None)",
    "nc_find_index8(*, data, vals, mask=None, dtype=None)",
    "nc_match_replace8(*, data, vals, imm, dst_idx=None, mask=None, dtype=None)",
    "nc_stream_shuffle(src, dst, shuffle_mask, *, mask=None)",
    "get_nc_version()",
]
TOP = [
    "jit(func=None, mode='auto')",
    "baremetal(kernel=None)",
    "benchmark(kernel=None)",
    "profile(func=None)",
    "trace(func=None)",
    "simulate_kernel(kernel, *args)",
]
COMPILER = [
    "enable_stack_allocator(func=None, log_level=50)",
    "force_auto_alloc(func=None)",
    "skip_middle_end_transformations(func=None)",
]
SIGNATURES = [
    (module, text)
    for module, texts in (
        (language, LANGUAGE),
        (isa, ISA),
        (nki, TOP),
        (compiler, COMPILER),
    )
    for text in texts
]
#: What is no function.
OTHERS = {
    language: """mgrid par_dim psum sbuf hbm private_hbm shared_hbm spmd_dim nc tfloat32
    float32 bfloat16 float16 float8_e4m3 float8_e5m2 int32 uint32 int16 uint16 int8
    uint8 bool_ tile_size fp32 bfp16""",
    isa: """tensor_engine vector_engine scalar_engine gpsimd_engine dma_engine
    unknown_engine engine reduce_cmd dge_mode oob_mode nc_version""",
    typing: "tensor mutable_tensor",
    compiler: "sbuf psum",
}
TILE_SIZES = """pmax psum_fmax gemm_stationary_fmax gemm_moving_fmax bn_stats_fmax
psum_min_align sbuf_min_align total_available_sbuf_size"""
METHODS = [
    "assert_shape(self, shape)",
    "astype(self, dtype)",
    "broadcast_to(self, shape)",
    "expand_dims(self, axis)",
    "reshape(self, shape)",
    "view(self, dtype)",
]
#: What is refused: how it is asked for, and what the error says.
REFUSED = {
    "nl.all_reduce": "programs of a grid run one after the other",
    "nl.gemm_grid": "never documented",
    "nl.gemm_stationary_grid": "never documented",
    "nisa._tiled_offloaded_fma": "the compiler's own",
    "nisa._tiled_offloaded_memcpy": "the compiler's own",
    "nisa.builtin_custom_op": "runs a library",
    "nisa.attention_kernel": "the compiler's own",
    "nisa.attention_kernel_cache": "the compiler's own",
    "nki.FrameworkKernel": "nkipy's own op",
    "nki.compiler.sbuf.alloc()": "explicit allocation is not supported",
    "nki.compiler.sbuf.mod_alloc(base_addr=0)": "explicit allocation is not supported",
    "nki.compiler.psum.alloc()": "explicit allocation is not supported",
    "nki.compiler.psum.mod_alloc(base_bank=0)": "explicit allocation is not supported",
}


def _documented(text: str) -> inspect.Signature:
    """The signature that a text such as ``"f(x, *, mask=None)"`` gives."""
    names: dict[str, Any] = {
        **vars(isa),
        "fp32_min": float(np.finfo(np.float32).min),
    }
    exec(f"def {text}: pass", names)
    return inspect.signature(names[text.partition("(")[0]])


def _default(value: Any) -> Any:
    """A default as it is compared: of truth values, bytes are what stores them."""
    return "uint8" if value is bool else value


@pytest.mark.parametrize(
    ("module", "text"),
    SIGNATURES,
    ids=[
        f"{m.__name__.rpartition('.')[2]}.{t.partition('(')[0]}" for m, t in SIGNATURES
    ],
)
def test_a_function_takes_what_is_documented(module, text):
    name = text.partition("(")[0]
    mine = inspect.signature(getattr(module, name)).parameters
    given = list(mine)
    for place, documented in enumerate(_documented(text).parameters.values()):
        if documented.kind is documented.VAR_POSITIONAL:
            assert any(p.kind is p.VAR_POSITIONAL for p in mine.values())
            continue
        if documented.name == "kernel" and "kernel" not in mine:
            continue  # of decorators, which take it by position
        found = mine[documented.name]
        assert found.kind in (documented.kind, found.POSITIONAL_OR_KEYWORD)
        assert _default(found.default) == _default(documented.default)
        if documented.kind is documented.POSITIONAL_OR_KEYWORD:
            assert given[place] == documented.name


@pytest.mark.parametrize("text", METHODS)
def test_a_tile_has_the_methods_that_are_documented(text):
    found = inspect.signature(getattr(Tile, text.partition("(")[0])).parameters
    assert list(found)[: text.count(",") + 1] == list(_documented(text).parameters)


def test_what_is_no_function_is_there():
    for module, names in OTHERS.items():
        for name in names.split():
            assert getattr(module, name) is not None
    for name in TILE_SIZES.split():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            assert getattr(language.tile_size, name) > 0
    for name in ("dtype", "itemsize", "ndim", "shape"):
        assert isinstance(getattr(Tile, name), property)


@pytest.mark.parametrize(("text", "reason"), REFUSED.items(), ids=REFUSED)
def test_what_is_not_there_is_refused_by_name(text, reason):
    with pytest.raises(NkiValidationError, match=reason) as raised:
        eval(text, {"nki": nki, "nl": language, "nisa": isa})
    *_, name = text.partition("(")[0].split(".")
    assert name in str(raised.value)


def test_what_was_never_there_is_missing():
    for module in (nki, language, isa):
        with pytest.raises(AttributeError, match="no_such_name"):
            _ = module.no_such_name


@nki.jit
def loaded(x, **others):
    result = language.ndarray(x.shape, x.dtype, buffer=language.shared_hbm)
    language.store(result, language.load(x, **others))
    return result


X = np.ones((4, 4), np.float32)


def test_a_misspelt_argument_is_an_error_at_its_line():
    with pytest.raises(TypeError, match="no argument 'maks': is mask meant") as raised:
        loaded(X, maks=None)
    line = loaded.func.__code__.co_firstlineno + 3
    assert f"{__file__}:{line}" in str(raised.value)


def test_an_argument_that_is_for_the_compiler_is_told_of_and_left_out():
    with pytest.warns(NkiWarning, match="'lower_bound' is not known"):
        np.testing.assert_array_equal(loaded(X, lower_bound=3), X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(loaded(X, name="x_tile"), X)


@pytest.mark.parametrize("name", ["float32", "float16", "int32", "uint8", "bool_"])
def test_element_types_equal_numpys(name):
    mine, numpys = getattr(language, name), getattr(np, name)
    assert mine == numpys and numpys == mine and np.dtype(numpys) == mine
    assert mine != np.int16 and mine not in (int, object) and mine in (np.int16, numpys)
    assert len({mine, str(mine)}) == 1


def test_a_tensors_type_equals_numpys():
    @nki.jit
    def kernel(x):
        assert x.dtype == np.float32 == language.load(x).dtype != np.float16
        return x

    kernel(X)
