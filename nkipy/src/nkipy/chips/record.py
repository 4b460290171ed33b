"""What is recorded of a chip, and where each fact is from.

Sources are pages of the vendor's public documentation. ``chip`` is the page on the chip
(:attr:`Chip.page`) and ``core`` the one on its cores, ``neuron-core-v`` with the
generation; all others go by their own names. Where a page tells less than the figure
here, or another page another one, the fact is an *estimate*: so is every figure that
only the estimate of time looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NoReturn

from nkipy.chips.links import Link

#: Element types that every chip has, by NumPy's names; 64-bit ones may be narrowed.
COMMON_DTYPES = (
    *("float32", "float16", "bfloat16", "float8_e4m3", "float8_e5m2"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    "bool",
)


def _fact(text: str, source: str, unit: str = "", *, estimate: bool = False) -> Any:
    """A field that says what it is, in which unit, and where it is told."""
    origin = f"estimate, from {source}" if estimate else source
    return field(metadata={"text": text, "source": origin, "unit": unit})


def _frozen(value: Any) -> Any:
    """The same, without a way to change what it maps."""
    if not isinstance(value, Mapping):
        return value
    return MappingProxyType({key: _frozen(part) for key, part in value.items()})


@dataclass(frozen=True, kw_only=True, eq=False)
class Instance:
    """A machine with such chips, as rented; its short name is one of a single chip.

    Attributes:
        name: ``"trn2.48xlarge"``, or ``"trn2"``.
        size: libnrt's number of its size (``nrt_instance_size_t``).
        chips: how many it has.
        lnc: physical cores to a logical one unless told otherwise; None is the chip's
            own. Short names have 1, which is what kernels are compiled for.
    """

    name: str
    size: int
    chips: int
    lnc: int | None = None

    @property
    def family(self) -> str:
        """``"trn2"``."""
        return self.name.partition(".")[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class Chip:
    """One chip. Bytes are bytes, rates are 10^9 bytes or 10^12 operations a second.

    A mapping by element type has ``"other"`` for all that it does not name;
    ``"float8"`` stands for the 8-bit floats, ``"mx"`` for those scaled in blocks,
    ``"sparse"`` for products with a structured sparse operand.
    """

    # -- names -----------------------------------------------------------------------
    name: str = _fact("name", "neuronx-cc reference")
    product: str = _fact("product", "chip")
    page: str = _fact("page on the chip", "neuron-hardware")
    generation: int = _fact("generation of its cores, NeuronCore-v…", "core")
    code_name: str | None = _fact("name in a genuine NEFF", "public NEFFs")
    targets: tuple[str, ...] = _fact("values of --target", "neuronx-cc reference")
    compiles_as: str = _fact("target that nkipy compiles for", "neuronx-cc reference")
    #: Families of instances, with libnrt's numbers (``nrt_instance_family_t``).
    families: Mapping[str, int] = _fact("families of instances", "libnrt's headers")
    instances: tuple[Instance, ...] = _fact("instances", "chip, trn2-arch, inf2-arch")
    # -- cores and memory ------------------------------------------------------------
    cores: int = _fact("cores", "chip")
    lnc: tuple[int, ...] = _fact(
        "physical cores to a logical one, the default first", "logical-neuroncore"
    )
    hbm_bytes: int = _fact("HBM", "chip", "bytes")
    hbm_gb_s: float = _fact("HBM", "chip", "GB/s")
    cores_per_hbm: int = _fact("cores to a bank of HBM", "device-memory")
    hbm_reserved_bytes: int = _fact("HBM reserved by a core", "device-memory", "bytes")
    # -- on the chip, of one core ----------------------------------------------------
    partitions: int = _fact("partitions of SBUF and PSUM", "core")
    sbuf_bytes: int = _fact("SBUF of a core", "core", "bytes")
    psum_bytes: int = _fact("PSUM of a core", "core", "bytes")
    psum_banks: int = _fact("banks of the PSUM", "core")
    sbuf_reserved_bytes: int = _fact(
        "SBUF of a partition that a kernel cannot use",
        "what public kernels leave free on trn2",
        "bytes",
        estimate=True,
    )
    #: Pairs of engines that cannot access a memory at once: (engine, engine, memory).
    exclusive: tuple[tuple[str, str, str], ...] = _fact(
        "engines that exclude each other", "NKI architecture guides"
    )
    # -- engines, of one core --------------------------------------------------------
    tensor_ghz: float = _fact("TensorE", "core", "GHz")
    vector_ghz: float = _fact("VectorE", "core", "GHz")
    scalar_ghz: float = _fact("ScalarE", "core", "GHz")
    gpsimd_ghz: float = _fact("GpSimd", "core", "GHz")
    #: By engine (tensor: of both operands), by element type.
    elements_per_cycle: Mapping[str, Mapping[str, int]] = _fact(
        "elements an engine takes in a cycle", "NKI architecture guides"
    )
    tflops: Mapping[str, float] = _fact("products of a core", "core", "TFLOPS")
    stationary_columns: int = _fact("columns of a stationary operand", "nki.isa")
    #: By element type of the result in the PSUM, which are those that it may have.
    moving_columns: Mapping[str, int] = _fact("columns of a moving operand", "nki.isa")
    bn_stats_elements: int = _fact("elements that bn_stats takes", "nki.isa")
    dtypes: tuple[str, ...] = _fact("element types", "data-types, error codes")
    native_int32_dot: bool = _fact(
        "products of 32-bit integers are exact", "NCC_EVRF035"
    )
    fp8_factor: float = _fact(
        "time of an fp8 product, relative to bfloat16",
        "profile-schema-reference",
        estimate=True,
    )
    vector_16bit_speedup: float = _fact(
        "VectorE on 16-bit types, relative to 32", "nki_perf_guide", estimate=True
    )
    #: By engine, in its own cycles.
    overhead_cycles: Mapping[str, int] = _fact(
        "cycles until the next instruction can have a result",
        "nki_perf_guide",
        estimate=True,
    )
    semaphore_latency_ns: float = _fact(
        "wait of an engine for another one",
        "published times of kernels of dependent instructions",
        "ns",
        estimate=True,
    )
    loop_barrier_ns: float = _fact(
        "end of an iteration of a loop of the device's",
        "nki-dynamic-loops",
        "ns",
        estimate=True,
    )
    # -- transfers -------------------------------------------------------------------
    dma_engines: int = _fact("DMA engines of a core", "chip")
    dma_engine_gb_s: float = _fact(
        "payload of a DMA engine", "nki-dma-bandwidth-guide", "GB/s"
    )
    dma_engine_peak_gb_s: float = _fact(
        "peak of a DMA engine", "nki-dma-bandwidth-guide", "GB/s"
    )
    dma_start_ns: float = _fact(
        "start of a transfer", "nki-dma-bandwidth-guide", "ns", estimate=True
    )
    dma_saturating_bytes: int = _fact(
        "contiguous bytes from which on a DMA engine reaches its payload rate",
        "nki-dma-bandwidth-guide",
        "bytes",
    )
    dma_half_rate_bytes: int = _fact(
        "contiguous bytes that take a DMA engine as long as the start of a descriptor",
        "nki-dma-bandwidth-guide",
        "bytes",
        estimate=True,
    )
    hwdge_ns: float = _fact(
        "descriptors of a transfer, made by hardware", "nki-dge", "ns", estimate=True
    )
    cc_cores: int = _fact("cores for collectives", "chip")
    link_gb_s: float = _fact("NeuronLink", "chip", "GB/s")
    link_latency_ns: float = _fact(
        "NeuronLink, from a core to the next",
        "intranode-collective-comm",
        "ns",
        estimate=True,
    )
    linked_chips: int = _fact(
        "chips that NeuronLink joins", "trn1-arch to trn3-arch", estimate=True
    )
    network_gb_s: float = _fact("network of so many chips", "chip", "GB/s")
    network_latency_ns: float = _fact(
        "network, from a core to the next",
        "internode-collective-comm",
        "ns",
        estimate=True,
    )

    def __post_init__(self) -> None:
        for name, value in vars(self).copy().items():
            object.__setattr__(self, name, _frozen(value))

    @property
    def nki_name(self) -> str:
        """What NKI calls the generation: ``"gen3"``."""
        return f"gen{self.generation}"

    @property
    def architecture(self) -> str:
        """What libnrt calls the generation: ``"NCv3"``."""
        return f"NCv{self.generation}"

    @property
    def hbm_bank_bytes(self) -> int:
        """What one core can address: a bank, which it may share."""
        return self.hbm_bytes // self.cores * self.cores_per_hbm

    @property
    def sbuf_partition_bytes(self) -> int:
        return self.sbuf_bytes // self.partitions

    @property
    def sbuf_usable_bytes(self) -> int:
        """Of one partition, what a kernel's tiles can have."""
        return self.sbuf_partition_bytes - self.sbuf_reserved_bytes

    @property
    def linked_cores(self) -> int:
        """Cores that need no network to reach each other."""
        return self.linked_chips * self.cores

    def link(self, groups: Iterable[Iterable[int]]) -> Link:
        """What joins the cores of each group, by their numbers over all instances."""
        for group in groups:
            if len({core // self.linked_cores for core in group}) > 1:
                share = self.network_gb_s / self.linked_cores
                return Link(self.network_latency_ns, share)
        return Link(self.link_latency_ns, self.link_gb_s / self.cores)

    def dma_slowdown(self, run: float) -> float:
        """How many times as long as at its payload rate a DMA engine takes.

        A descriptor's start counts as so many bytes more; with that, the runs that
        saturate the engine go at the payload rate.

        Args:
            run: contiguous bytes of a descriptor.
        """
        start = self.dma_half_rate_bytes
        saturated = 1 + start / self.dma_saturating_bytes
        return max(1.0, (1 + start / run) / saturated)

    @property
    def psum_partition_bytes(self) -> int:
        return self.psum_bytes // self.partitions

    @property
    def psum_bank_bytes(self) -> int:
        """Of one partition: 512 elements of float32."""
        return self.psum_partition_bytes // self.psum_banks


#: What tells chips apart: no two records share one of these, and none has it twice.
_UNIQUE: Mapping[str, Callable[[Chip], Iterable[str | int]]] = {
    "target": lambda chip: chip.targets,
    "name, target or family": lambda chip: {chip.name, *chip.targets, *chip.families},
    "number of a family": lambda chip: chip.families.values(),
    "instance": lambda chip: [instance.name for instance in chip.instances],
}


def check_table(chips: Sequence[Chip]) -> None:
    """Refuse records that share what tells chips apart.

    A record that is `replace` of another has all of that one's which it does not give.

    Raises:
        ValueError: two records have a name, target, family, number of a family or
            instance in common, or one has it twice; or one compiles as a chip that is
            not in the table. The text says which records.
    """
    for what, values_of in _UNIQUE.items():
        owners: dict[str | int, Chip] = {}
        for chip in chips:
            for value in values_of(chip):
                if value in owners:
                    _refuse_shared(owners[value], chip, f"{what} {value!r}")
                owners[value] = chip
    names = {chip.name for chip in chips}
    for chip in chips:
        if chip.compiles_as not in names:
            raise ValueError(
                f"the record of chip {chip.name!r} has compiles_as="
                f"{chip.compiles_as!r}, and no chip of the table has that name"
            )


def _refuse_shared(first: Chip, second: Chip, what: str) -> NoReturn:
    if first is second:
        raise ValueError(f"the record of chip {first.name!r} has the {what} twice")
    raise ValueError(
        f"the records of chips {first.name!r} ({first.product}) and {second.name!r} "
        f"({second.product}) both have the {what}; give each its own"
    )
