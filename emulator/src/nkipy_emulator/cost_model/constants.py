"""What the estimate knows of the hardware, each figure with its source.

What is recorded of chips is in :mod:`nkipy.chips`; here is what that leaves out, and a
core's share of the chip. The sources are pages of the public SDK documentation, by
their file names: ``nki_perf_guide``, ``nki-dma-bandwidth-guide`` and
``intranode-``/``internode-collective-comm``. Figures marked *ours* are published
nowhere: they are round numbers of a plausible size, and nothing more.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from nkipy.chips import CHIPS, DEFAULT, Chip, find_chip
from nkipy_emulator.cost_model.errors import CostModelError

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

#: Fewest cycles between two matmuls, and cycles to load 128 rows of stationary data
#: with fast weight load (nki_perf_guide: MM_INIT_LATENCY 64; rows / 4).
MATMUL_MIN_CYCLES = 64
LOAD_STATIONARY_CYCLES = 32
#: SBUF access of a vector instruction, and the wait of one that depends on the one
#: before (nki_perf_guide: about 60 and about 100 cycles).
VECTOR_ACCESS_CYCLES = 60
VECTOR_DEPENDENT_CYCLES = DEFAULT.overhead_cycles["vector"]
#: ScalarE takes max(64, N) cycles; tiny dependent instructions were measured 264 cycles
#: apart (nki_perf_guide: 189 ns on v2), hence 200 beyond the first 64.
SCALAR_MIN_CYCLES = 64
SCALAR_FIXED_CYCLES = DEFAULT.overhead_cycles["scalar"]
#: GpSimd has no published issue cost; *ours*: that of a dependent vector instruction.
GPSIMD_FIXED_CYCLES = DEFAULT.overhead_cycles["gpsimd"]
#: Start and semaphore of a transfer (nki-dma-bandwidth-guide: about 1.3 us).
DMA_FIXED_NS = DEFAULT.dma_start_ns
#: Granularity at which transfer, computation and store overlap, on each partition.
#: *Ours*: the least efficient descriptor.
TILE_PARTITION_BYTES = 2 * KIB
#: Share of the SBUF that one value may take to stay there between two instructions that
#: are not fused. *Ours*: there is no register allocation in this model.
RESIDENT_FRACTION = 0.25
#: Ring hop inside an instance and between instances, ns (intranode-: 1-2 us;
#: internode-collective-comm: about 15 us).
HOP_NS = DEFAULT.link_latency_ns
NETWORK_HOP_NS = DEFAULT.network_latency_ns
#: Branch and semaphores of a loop iteration or a branch. *Ours*.
CONTROL_NS = 200.0
#: Cost of one nrt_execute on the device. *Ours*: not published. The one hint, of
#: release notes of 2.32, is 20 us saved per start of a program on trn3.
LAUNCH_NS = 20000.0
#: Overrides LAUNCH_NS where the caller of estimate() does not say.
LAUNCH_VARIABLE = "NKIPY_EMULATOR_LAUNCH_NS"
#: What a core needs to go over to another program than its last one. *Ours*, as nothing
#: is published: that of a launch, of which nothing is, either.
SWITCH_NS = 20000.0
#: Overrides SWITCH_NS.
SWITCH_VARIABLE = "NKIPY_EMULATOR_SWITCH_NS"


@dataclass(frozen=True, kw_only=True)
class Target:
    """One core of a chip, with its share of what the chip's cores have in common.

    Attributes:
        name: what the compiler calls it.
        generation: 2, 3 or 4 (NeuronCore-v2, ...).
        partitions: lanes of the SBUF, the PE array's side, and what one vector
            instruction covers.
        tensor_ghz, vector_ghz, scalar_ghz, gpsimd_ghz: clocks of the engines.
        moving_columns: of the moving operand, in one product accumulated in float32.
        fp8_factor: TensorE time of an fp8 product relative to one of bfloat16.
        vector_16bit_speedup: of VectorE on 16-bit types.
        hbm_gb_s: bandwidth of the HBM, bytes per ns.
        dma_gb_s: payload rate of the core's 16 DMA engines, bytes per ns.
        sbuf_bytes: on-chip memory.
        link_gb_s: NeuronLink, bytes per ns.
        network_gb_s: network between instances, bytes per ns.
        chip: which it is of.
        cores_per_instance: cores that need no network to reach each other.
        max_lnc: physical cores that a logical core may have.
    """

    name: str
    generation: int
    partitions: int
    tensor_ghz: float
    vector_ghz: float
    scalar_ghz: float
    gpsimd_ghz: float
    moving_columns: int
    fp8_factor: float
    vector_16bit_speedup: float
    hbm_gb_s: float
    dma_gb_s: float
    sbuf_bytes: int
    link_gb_s: float
    network_gb_s: float
    cores_per_instance: int
    chip: Chip
    max_lnc: int = 1
    launch_ns: float = LAUNCH_NS

    @property
    def tile_bytes(self) -> int:
        """At which transfer, computation and store overlap."""
        return self.partitions * TILE_PARTITION_BYTES


def _core_of(chip: Chip) -> Target:
    """What one core has, with its share of what the chip's cores have in common."""
    cores = chip.linked_cores
    return Target(
        name=chip.name,
        generation=chip.generation,
        partitions=chip.partitions,
        tensor_ghz=chip.tensor_ghz,
        vector_ghz=chip.vector_ghz,
        scalar_ghz=chip.scalar_ghz,
        gpsimd_ghz=chip.gpsimd_ghz,
        moving_columns=chip.moving_columns["float32"],
        fp8_factor=chip.fp8_factor,
        vector_16bit_speedup=chip.vector_16bit_speedup,
        hbm_gb_s=chip.hbm_gb_s / chip.cores,
        dma_gb_s=chip.dma_engine_gb_s * chip.dma_engines,
        sbuf_bytes=chip.sbuf_bytes,
        link_gb_s=chip.link_gb_s / chip.cores,
        network_gb_s=chip.network_gb_s / cores,
        cores_per_instance=cores,
        chip=chip,
        max_lnc=max(chip.lnc),
    )


TARGETS: dict[str, Target] = {chip.name: _core_of(chip) for chip in CHIPS}

#: TensorE time of a product of operands of these types, relative to bfloat16
#: (Explorer's FLOP weights: FP32 4, UINT8 0.5). Wider integers go by way of float32.
TENSOR_FACTORS: dict[str, float] = {
    "bfloat16": 1.0,
    "float16": 1.0,
    "tf32": 1.0,
    "int8": 0.5,
    "uint8": 0.5,
    "bool": 0.5,
}
OTHER_TENSOR_FACTOR = 4.0


def find_target(
    name: str | Target, lnc: int = 1, launch_ns: float | None = None
) -> Target:
    """The target of that name (``trn2``, or an instance's, ``trn2.48xlarge``).

    With ``lnc=2``, two physical cores act as one: every rate and capacity doubles.

    Raises:
        CostModelError: there is no such target, or it has no such `lnc`.
    """
    target = name if isinstance(name, Target) else _by_name(name)
    if not 1 <= lnc <= target.max_lnc:
        raise CostModelError(
            f"lnc for {target.name} is 1 to {target.max_lnc}; received {lnc}"
        )
    if launch_ns is None:
        launch_ns = _from_environment(LAUNCH_VARIABLE, target.launch_ns)
    return replace(_scaled(target, lnc), launch_ns=launch_ns)


def _by_name(name: str) -> Target:
    chip = find_chip(name)
    if chip is None:
        known = ", ".join(TARGETS)
        raise CostModelError(f"the target is one of {known}; received {name!r}")
    return TARGETS[chip.name]


def _scaled(target: Target, cores: int) -> Target:
    rates = ("tensor_ghz", "vector_ghz", "scalar_ghz", "gpsimd_ghz", "hbm_gb_s")
    shares = ("dma_gb_s", "link_gb_s", "network_gb_s")
    scaled = {key: getattr(target, key) * cores for key in rates + shares}
    return replace(
        target,
        **scaled,
        sbuf_bytes=target.sbuf_bytes * cores,
        cores_per_instance=target.cores_per_instance // cores,
    )


def switch_ns() -> float:
    """What a core needs to go over to another program than its last one: an estimate.

    Raises:
        CostModelError: the environment has no time for it.
    """
    return _from_environment(SWITCH_VARIABLE, SWITCH_NS)


def _from_environment(variable: str, default: float) -> float:
    text = os.environ.get(variable)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e12:
        raise CostModelError(f"{variable} is a time in ns; received {text!r}")
    return value
