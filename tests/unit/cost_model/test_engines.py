"""Times of single instructions, computed by hand from the published figures."""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from nkipy.hlo.opcodes import OPCODES, WindowDim
from nkipy_emulator.cost_model.constants import TARGETS
from nkipy_emulator.cost_model.engines import (
    Engines,
    Product,
    convolution_product,
    dot_product,
)
from tests.unit.hlo.sample import instruction, reducer

TRN1, TRN2 = TARGETS["trn1"], TARGETS["trn2"]


def parameter(shape: str, number: int = 0):
    return instruction("parameter", (), shape, {"parameter_number": number})


def dot(lhs: str, rhs: str, out: str, batch: tuple[int, ...] = ()):
    operands = (parameter(lhs), parameter(rhs, 1))
    rank = operands[0].ndim
    attributes = {
        "lhs_contracting_dims": (rank - 1,),
        "rhs_contracting_dims": (rank - 2,),
        "lhs_batch_dims": batch,
        "rhs_batch_dims": batch,
    }
    return instruction("dot", operands, out, attributes)


def elementwise(opcode: str, shape: str, operands: int = 1):
    inputs = tuple(parameter(shape, i) for i in range(operands))
    return instruction(opcode, inputs, shape)


def ns(inst, target=TRN2, chained=False) -> float:
    return Engines(target).elementwise(inst, OPCODES[inst.opcode].cost, chained).ns


def test_vector_engine_one_and_two_tensors():
    # 128 partitions: 512 columns. 60 cycles of access; a second tensor, as many again.
    assert ns(elementwise("negate", "f32[128,512]")) == (60 + 512) / 0.96
    assert ns(elementwise("add", "f32[128,512]", 2)) == (60 + 2 * 512) / 0.96
    # Trainium1 has another clock.
    assert ns(elementwise("negate", "f32[128,512]"), TRN1) == (60 + 512) / 1.12
    # An instruction that waits for the one before takes 100 cycles more.
    chained = elementwise("negate", "f32[128,512]")
    assert ns(chained, chained=True) == (60 + 100 + 512) / 0.96


def test_a_chip_with_more_partitions_takes_more_at_once():
    wide = replace(TRN2, partitions=256)
    assert ns(elementwise("negate", "f32[128,512]"), wide) == (60 + 256) / 0.96
    assert wide.tile_bytes == 2 * TRN2.tile_bytes


def test_vector_engine_is_twice_as_fast_on_16_bits_from_trn2_on():
    inst = elementwise("negate", "bf16[128,512]")
    assert ns(inst) == (60 + 256) / 0.96
    assert ns(inst, TRN1) == (60 + 512) / 1.12


def test_division_is_two_steps():
    inst = elementwise("divide", "f32[128,512]", 2)
    assert ns(inst) == (2 * (60 + 512) + 100 + 512) / 0.96


def test_scalar_engine_tiny_instructions_are_264_cycles_apart():
    assert ns(elementwise("exponential", "f32[128,1]"), TRN1) == 264 / 1.4
    # 189 ns, as measured in the vendor's guide.
    assert ns(elementwise("exponential", "f32[128,1]"), TRN1) == pytest.approx(
        189, 0.01
    )
    assert ns(elementwise("exponential", "f32[128,512]")) == (200 + 512) / 1.2


def test_reduction_goes_over_the_inputs():
    operands = (parameter("f32[128,512]"), parameter("f32[]", 1))
    attributes = {"dimensions": (1,), "to_apply": reducer()}
    inst = instruction("reduce", operands, "f32[128]", attributes)
    work = Engines(TRN2).reduce(inst, OPCODES["reduce"].cost)
    assert work.ns == (60 + 100 + 512) / 0.96


@pytest.mark.parametrize(
    ("dtype", "target", "cycles"),
    [
        # One tile: 32 cycles to load 128 rows, 512 columns to stream.
        ("bf16", TRN2, 32 + 512),
        ("f16", TRN2, 32 + 512),
        ("f32", TRN2, 32 + 4 * 512),
        ("f8e5m2", TRN2, 32 + 512 / 2),
        ("f8e5m2", TRN1, 32 + 512),
        ("s8", TRN2, 32 + 512 / 2),
        ("s32", TRN2, 32 + 4 * 512),
    ],
)
def test_one_tile_of_a_product(dtype, target, cycles):
    inst = dot(f"{dtype}[128,128]", f"{dtype}[128,512]", f"{dtype}[128,512]")
    work = Engines(target).product(inst, dot_product(inst))
    assert work.ns == cycles / target.tensor_ghz
    assert work.flops == 2 * 128 * 128 * 512


def test_tiles_of_a_product():
    # The better way round: hold rhs (3 x 2 tiles of k x n), stream 1024 rows of lhs.
    inst = dot("bf16[1024,384]", "bf16[384,256]", "bf16[1024,256]")
    work = Engines(TRN2).product(inst, dot_product(inst))
    assert work.ns == 3 * 2 * (32 + 1024) / 2.4


def test_few_columns_take_64_cycles():
    inst = dot("bf16[128,128]", "bf16[128,1]", "bf16[128,1]")
    work = Engines(TRN2).product(inst, dot_product(inst))
    assert work.ns == (32 + 64) / 2.4


def test_sizes_of_a_batched_dot():
    inst = dot("f32[5,2,3]", "f32[5,3,7]", "f32[5,2,7]", (0,))
    assert dot_product(inst) == Product(batch=5, m=2, n=7, k=3)
    assert dot_product(inst).flops == 2 * 5 * 2 * 7 * 3


@pytest.mark.parametrize(
    ("groups", "kernel", "product"),
    [
        (1, "f32[16,8,3,3]", Product(1, 16, 2 * 30 * 30, 8 * 9)),
        (4, "f32[16,2,3,3]", Product(4, 4, 2 * 30 * 30, 2 * 9)),
        (8, "f32[16,1,3,3]", Product(8, 2, 2 * 30 * 30, 9)),
    ],
)
def test_sizes_of_a_convolution(groups, kernel, product):
    inst = instruction(
        "convolution",
        (parameter("f32[2,8,32,32]"), parameter(kernel, 1)),
        "f32[2,16,30,30]",
        {
            "window": (WindowDim(3), WindowDim(3)),
            "dim_labels": "bf01_oi01->bf01",
            "feature_group_count": groups,
        },
    )
    assert convolution_product(inst) == product


def test_peaks_are_those_of_the_data_sheets():
    # TFLOPS of one core: 128 x 128 multipliers, an addition each.
    for name, tflops in {"trn1": 92, "inf2": 92, "trn2": 79, "trn3": 79}.items():
        peak = 2 * 128 * 128 * TARGETS[name].tensor_ghz / 1000
        assert peak == pytest.approx(tflops, rel=0.01)
    # Of the chip: GB/s of its cores together.
    assert TRN1.hbm_gb_s * 2 == 820
    assert TRN2.hbm_gb_s * 8 == 2900
    assert TARGETS["trn3"].hbm_gb_s * 8 == 4900
    assert TRN1.dma_gb_s == 272 and TRN2.dma_gb_s == 368


def test_numpy_agrees_on_the_flops():
    rng = np.random.default_rng(0)
    b, m, n, k = rng.integers(1, 9, 4).tolist()
    inst = dot(f"f32[{b},{m},{k}]", f"f32[{b},{k},{n}]", f"f32[{b},{m},{n}]", (0,))
    multiplications = np.einsum(
        "bmk,bkn->", np.ones((b, m, k)), np.ones((b, k, n))
    ).item()
    assert dot_product(inst).flops == 2 * multiplications
    assert np.dtype(ml_dtypes.bfloat16).itemsize == 2
