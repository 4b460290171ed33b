"""Time that one HLO instruction keeps its engine busy, and the flops it makes.

Each function answers for data that is there already: moving it is the timeline's
affair. Times are in ns, as floats.
"""

from __future__ import annotations

from math import ceil, prod
from typing import NamedTuple

import numpy as np

from nkipy.hlo.dtypes import FP8
from nkipy.hlo.ir import HLOComputation, HLOInstruction
from nkipy.hlo.opcodes import OPCODES, CostClass, CostKind
from nkipy.hlo.options import CAST_TYPES, AutoCastType
from nkipy_emulator.cost_model.constants import (
    GPSIMD_FIXED_CYCLES,
    LOAD_STATIONARY_CYCLES,
    MATMUL_MIN_CYCLES,
    OTHER_TENSOR_FACTOR,
    SCALAR_FIXED_CYCLES,
    SCALAR_MIN_CYCLES,
    TENSOR_FACTORS,
    VECTOR_ACCESS_CYCLES,
    VECTOR_DEPENDENT_CYCLES,
    Target,
)
from nkipy_emulator.cost_model.types import GPSIMD, SCALAR, TENSOR, VECTOR

_FP8 = frozenset(dtype.name for dtype in FP8)
#: Kinds of which a reducer's instructions cost nothing.
_FREE = frozenset({CostKind.SOURCE, CostKind.TUPLE})


class Work(NamedTuple):
    """What an instruction asks of an engine."""

    engine: str
    ns: float
    flops: int = 0


class Product(NamedTuple):
    """A dot or convolution as `batch` products of [m, k] by [k, n]."""

    batch: int
    m: int
    n: int
    k: int

    @property
    def flops(self) -> int:
        return 2 * self.batch * self.m * self.n * self.k


class Engines:
    """The engines of a target.

    Args:
        target: their rates.
        product_cast: compiler's name of the type to which float32 operands of products
            are cast (``--auto-cast-type``), or None.
    """

    def __init__(
        self, target: Target, product_cast: AutoCastType | None = None
    ) -> None:
        self.target = target
        self._product_cast = CAST_TYPES[product_cast] if product_cast else "float32"
        self._reducers: dict[int, int] = {}

    # -- elements --------------------------------------------------------------------
    def passes(
        self, cls: CostClass, elements: int, operands: int, itemsize: int, chained: bool
    ) -> float:
        """`cls.steps` instructions over `elements`.

        Args:
            operands: tensors that VectorE reads; two take twice the time of one.
            itemsize: of the widest of them.
            chained: whether the instruction waits for the one before it.
        """
        columns: float = -(-elements // self.target.partitions)
        if cls.engine is SCALAR:
            cycles = SCALAR_FIXED_CYCLES + max(SCALAR_MIN_CYCLES, columns)
            return cls.steps * cycles / self.target.scalar_ghz
        if cls.engine is GPSIMD:
            return cls.steps * (GPSIMD_FIXED_CYCLES + columns) / self.target.gpsimd_ghz
        if itemsize <= 2:
            columns = columns / self.target.vector_16bit_speedup
        waits = cls.steps if chained else cls.steps - 1
        cycles = (
            cls.steps * (VECTOR_ACCESS_CYCLES + columns)
            + waits * VECTOR_DEPENDENT_CYCLES
            + (columns if operands > 1 else 0)
        )
        return cycles / self.target.vector_ghz

    def elementwise(self, inst: HLOInstruction, cls: CostClass, chained: bool) -> Work:
        """An instruction whose cost is that of its result's elements."""
        elements = prod(inst.shape) if inst.dtype is not None else _tuple_elements(inst)
        tensors, itemsize = 0, 1
        for operand in inst.operands:
            if operand.opcode == "broadcast" or operand.dtype is None:
                continue
            tensors += operand.shape == inst.shape
            if operand.dtype.itemsize > itemsize:
                itemsize = operand.dtype.itemsize
        ns = self.passes(cls, elements, tensors, itemsize, chained)
        return Work(cls.engine, ns)

    # -- reductions ------------------------------------------------------------------
    def reduce(self, inst: HLOInstruction, cls: CostClass) -> Work:
        """Elements of all inputs, once per operation of the reducer."""
        first = inst.operands[0]
        inputs = max(1, len(inst.operands) // 2)
        steps = cls.steps * inputs * self._reducer_steps(inst)
        itemsize = first.dtype.itemsize if first.dtype is not None else 4
        scaled = CostClass(cls.kind, cls.engine, steps)
        return Work(
            cls.engine, self.passes(scaled, prod(first.shape), 1, itemsize, True)
        )

    def window(self, inst: HLOInstruction, cls: CostClass) -> Work:
        """A window of n elements takes ceil(log2(n)) doubling steps, and one more."""
        size = prod(d.size for d in inst.attributes["window"])
        steps = (1 + (max(size, 1) - 1).bit_length()) * self._reducer_steps(inst)
        first = inst.operands[0]
        elements = max(prod(first.shape), _elements(inst))
        scaled = CostClass(cls.kind, cls.engine, steps)
        return Work(
            cls.engine, self.passes(scaled, elements, 2, first.dtype.itemsize, True)
        )

    def sort(self, inst: HLOInstruction, cls: CostClass) -> Work:
        """A bitonic network: k (k + 1) / 2 exchanges, k = log2 of the length."""
        first = inst.operands[0]
        length = first.shape[inst.attributes["dimension"]] if first.shape else 1
        k = (max(length, 1) - 1).bit_length()
        exchanges = max(1, k * (k + 1) // 2) * len(inst.operands)
        scaled = CostClass(cls.kind, cls.engine, exchanges)
        return Work(
            cls.engine,
            self.passes(scaled, prod(first.shape), 2, first.dtype.itemsize, True),
        )

    def _reducer_steps(self, inst: HLOInstruction) -> int:
        computation = inst.attributes.get("to_apply")
        if computation is None:
            return 1
        steps = self._reducers.get(id(computation))
        if steps is None:
            steps = self._reducers[id(computation)] = _operations(computation)
        return steps

    # -- products --------------------------------------------------------------------
    def product(self, inst: HLOInstruction, product: Product) -> Work:
        """Tiles of 128 x 128 of the stationary operand, rows of the moving one."""
        factor = self._tensor_factor(inst)
        cycles = product.batch * min(
            self._matmul_cycles(product.m, product.n, product.k, factor),
            self._matmul_cycles(product.n, product.m, product.k, factor),
        )
        return Work(TENSOR, cycles / self.target.tensor_ghz, product.flops)

    def _matmul_cycles(
        self, stationary: int, moving: int, k: int, factor: float
    ) -> float:
        """Cycles with `stationary` rows held, and `moving` columns streamed."""
        side = self.target.partitions
        tiles = -(-stationary // side) * -(-k // side)
        most = self.target.moving_columns
        whole, rest = divmod(moving, most)
        columns = whole * most + (max(rest, MATMUL_MIN_CYCLES) if rest else 0)
        return tiles * (LOAD_STATIONARY_CYCLES + columns * factor)

    def _tensor_factor(self, inst: HLOInstruction) -> float:
        name = max((o.dtype for o in inst.operands), key=_width).name
        if name == "float32":
            name = self._product_cast
        if name in _FP8:
            return self.target.fp8_factor
        return TENSOR_FACTORS.get(name, OTHER_TENSOR_FACTOR)

    def transpose(self, inst: HLOInstruction) -> Work:
        """A product with the identity, which moves 128 elements a cycle."""
        columns = -(-prod(inst.shape) // self.target.partitions)
        factor = OTHER_TENSOR_FACTOR if inst.dtype.itemsize > 2 else 1.0
        cycles = LOAD_STATIONARY_CYCLES + max(MATMUL_MIN_CYCLES, columns * factor)
        return Work(TENSOR, cycles / self.target.tensor_ghz)

    def factor(self, inst: HLOInstruction) -> Work:
        """Columns one after the other, each a dependent update of what remains."""
        matrix = inst.operands[0]
        n = matrix.shape[-1]
        batch = prod(matrix.shape[:-2])
        if inst.opcode == "cholesky":
            updates, flops = n * n * n // 3, n * n * n // 3
        else:
            columns = prod(inst.shape) // max(1, n * batch)
            updates, flops = n * n * columns // 2, n * n * columns
        fixed = n * (VECTOR_ACCESS_CYCLES + VECTOR_DEPENDENT_CYCLES)
        cycles = batch * (fixed + ceil(updates / self.target.partitions))
        return Work(VECTOR, cycles / self.target.vector_ghz, batch * flops)


def dot_product(inst: HLOInstruction) -> Product:
    """The sizes of a dot."""
    lhs, rhs = inst.operands[0].shape, inst.operands[1].shape
    attributes = inst.attributes
    k = prod(lhs[d] for d in attributes["lhs_contracting_dims"])
    batch = prod(lhs[d] for d in attributes["lhs_batch_dims"])
    shared = max(1, k * batch)
    return Product(batch, prod(lhs) // shared, prod(rhs) // shared, k)


def convolution_product(inst: HLOInstruction) -> Product:
    """A convolution as products, one per group: patches by kernels."""
    attributes = inst.attributes
    kernel_labels = attributes["dim_labels"].partition("_")[2].partition("->")[0]
    kernel = inst.operands[1].shape
    groups = attributes.get("feature_group_count", 1) * attributes.get(
        "batch_group_count", 1
    )
    features = kernel[kernel_labels.index("o")]
    k = prod(kernel) // max(1, features)
    m = features // max(1, groups)
    return Product(groups, m, prod(inst.shape) // max(1, features), k)


def _width(dtype: np.dtype) -> tuple[int, str]:
    return dtype.itemsize, dtype.name


def _operations(computation: HLOComputation) -> int:
    count = sum(
        OPCODES[i.opcode].cost.kind not in _FREE for i in computation.instructions
    )
    return max(1, count)


def _elements(inst: HLOInstruction) -> int:
    return prod(inst.shape) if inst.dtype is not None else _tuple_elements(inst)


def _tuple_elements(inst: HLOInstruction) -> int:
    return sum(prod(s.dims) for s in inst.tuple_shapes or ())
