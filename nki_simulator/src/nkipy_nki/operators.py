"""The operations that instructions take as ``op``: one record of each.

``nl.add`` is a function of two tiles, and a token for the operation of an instruction
as well. What it names is recorded here: its meaning on arrays, and where it may stand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from nkipy_nki import activations
from nkipy_nki.engines import Engine
from nkipy_nki.errors import NkiValidationError

__all__ = [
    "KINDS",
    "OPERATIONS",
    "Operation",
    "as_bits",
    "find_operation",
    "is_of_numpy",
]

#: What an operation may be, and what that is called in messages.
KINDS: Mapping[str, str] = {
    "arithmetic": "an arithmetic operation of the ALUs",
    "bitvec": "a bitwise operation of the ALUs",
    "activation": "an activation function",
    "special": "an operation of one instruction alone",
    "language": "a function of the language that no instruction has",
}


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation. There is one record of each, so `is` compares them.

    Calling it computes it, without warnings. What is given is never changed; what is
    returned may be it.

    Attributes:
        name: that of the language's function.
        compute: its meaning on arrays that broadcast: of float32, or of bits in any one
            type of whole numbers. Comparisons give 1 and 0. What NumPy approximates may
            differ with layout, which ``computing.compute`` sees to.
        arity: how many arrays it takes.
        since: by kind, the first generation that has it; its keys are its kinds.
        aliases: other names of it, those of NumPy's functions among them.
        reduction: if it reduces: reduces the last axis.
        identity: if it reduces: what to begin with.
        alu_engine: the one engine whose ALU has it, if only one has.
        compiles: whether a chip is documented to have it; what has it not runs in
            simulators only.
    """

    name: str
    compute: Callable[..., np.ndarray]
    arity: int
    since: Mapping[str, int]
    aliases: tuple[str, ...] = ()
    reduction: Callable[[np.ndarray], np.ndarray] | None = None
    identity: float | None = None
    alu_engine: Engine | None = None
    compiles: bool = True

    def __call__(self, *arrays: Any) -> Any:
        """The meaning, as `compute` has it."""
        with np.errstate(all="ignore"):
            return self.compute(*arrays)

    def __repr__(self) -> str:
        return f"nl.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _named, (self.name,)

    @property
    def reduces(self) -> bool:
        """Whether an instruction can reduce with it."""
        return self.reduction is not None

    @property
    def is_bitvec(self) -> bool:
        """Whether it works on bits, not on numbers."""
        return "bitvec" in self.since

    def reduce(self, array: np.ndarray, axis: int | tuple[int, ...] = -1) -> np.ndarray:
        """Reduce one axis or several, which the result lacks.

        The elements of a sum are brought into C's order first, so that its bits depend
        on values and shape alone.

        Raises:
            NkiValidationError: the operation does not reduce.
        """
        if self.reduction is None:
            raise NkiValidationError(
                f"{self!r} does not reduce; what does is "
                f"{_names(o for o in OPERATIONS.values() if o.reduces)}"
            )
        axes = (axis,) if isinstance(axis, int) else axis
        gone = sorted(a % array.ndim for a in axes)
        kept = [a for a in range(array.ndim) if a not in gone]
        shape = [array.shape[a] for a in kept]
        count = math.prod(array.shape[a] for a in gone)
        rows = np.ascontiguousarray(array.transpose(*kept, *gone)).reshape(
            *shape, count
        )
        with np.errstate(all="ignore"):
            made = self.reduction(rows)
        return made if self.is_bitvec else np.asarray(made, np.float32)


def as_bits(number: int, element: np.dtype) -> np.ndarray:
    """A whole number as bits of a type: of what is too great, the lowest ones."""
    bits = number & ((1 << 8 * element.itemsize) - 1)
    return np.array(bits, f"u{element.itemsize}").view(element)


def find_operation(given: Any, kind: str | tuple[str, ...]) -> Operation:
    """The operation that a kernel names.

    Args:
        given: a record, a name, one of the language's functions (whose `operation` is
            either), or a function of NumPy.
        kind: one of :data:`KINDS`, or several.

    Raises:
        NkiValidationError: there is none, or it is of another kind.
    """
    kinds = (kind,) if isinstance(kind, str) else kind
    found = _named(given)
    if found is not None:
        for one in kinds:
            if one in found.since:
                return found
    what = (
        repr(given)
        if found is None
        else f"{found!r}, {KINDS[next(iter(found.since))]},"
    )
    allowed = (o for o in OPERATIONS.values() if any(k in o.since for k in kinds))
    raise NkiValidationError(
        f"op is {what} and must be {' or '.join(KINDS[k] for k in kinds)}: one of "
        f"{_names(allowed)}"
    )


def _named(given: Any) -> Operation | None:
    if isinstance(given, Operation):
        return given
    if isinstance(given, str):
        return OPERATIONS.get(given) or _BY_ALIAS.get(given)
    named = getattr(given, "operation", None)
    if isinstance(named, (Operation, str)):
        return _named(named)
    if isinstance(given, np.ufunc):
        return _named(given.__name__)
    return _named(getattr(given, "__name__", "")) if is_of_numpy(given) else None


def is_of_numpy(given: Any) -> bool:
    """Whether what is given for an operation is a function of NumPy."""
    if isinstance(given, np.ufunc):
        return True
    return str(getattr(given, "__module__", "")).partition(".")[0] == "numpy"


def _names(operations: Iterable[Operation]) -> str:
    return ", ".join(sorted(o.name for o in operations))


# -- meanings that NumPy has otherwise -------------------------------------------------
def _truth(compare: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """A comparison that gives 1 and 0 in float32."""

    def compute(*arrays: Any) -> np.ndarray:
        return np.asarray(compare(*arrays), np.float32)

    return compute


def _abs_max(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(x), np.abs(y))


def _abs_min(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.minimum(np.abs(x), np.abs(y))


def _shift(shift: np.ufunc) -> Callable[..., np.ndarray]:
    """A shift that fills with 0, of any number of places."""

    def compute(x: np.ndarray, places: np.ndarray) -> np.ndarray:
        x, places = np.asarray(x), np.asarray(places)
        unsigned = np.dtype(f"u{x.dtype.itemsize}")
        # A negative number of places is a great one. So it stays in 64 bits.
        made = shift(x.view(unsigned).astype(np.uint64), places.astype(np.uint64))
        return made.astype(unsigned).view(x.dtype)

    return compute


def _same(x: np.ndarray, *others: Any) -> np.ndarray:
    return x


def _average(*arrays: Any) -> np.ndarray:
    raise NkiValidationError("nl.average has no meaning but to reduce")


def _mean(rows: np.ndarray) -> np.ndarray:
    return np.add.reduce(rows, axis=-1) / np.float32(rows.shape[-1])


# -- the table -------------------------------------------------------------------------
def _by(ufunc: np.ufunc) -> Callable[[np.ndarray], np.ndarray]:
    return partial(ufunc.reduce, axis=-1)


def _arithmetic(
    name: str, compute: Callable[..., np.ndarray], arity: int = 2, **fields: Any
) -> Operation:
    since = {"arithmetic": fields.pop("generation", 2), **fields.pop("also", {})}
    return Operation(name, compute, arity, since, **fields)


def _reducing(name: str, ufunc: np.ufunc, identity: float, *aliases: str) -> Operation:
    return _arithmetic(
        name, ufunc, aliases=aliases, reduction=_by(ufunc), identity=identity
    )


def _logical(name: str, ufunc: np.ufunc, identity: float) -> Operation:
    return _arithmetic(name, _truth(ufunc), reduction=_by(ufunc), identity=identity)


def _bitvec(
    name: str, compute: Callable[..., np.ndarray], arity: int = 2, **fields: Any
) -> Operation:
    return Operation(name, compute, arity, {"bitvec": 2}, **fields)


def _activation(
    name: str,
    compute: Callable[..., np.ndarray],
    arity: int = 1,
) -> Operation:
    return Operation(name, compute, arity, {"activation": 2})


def _language(
    name: str, compute: Callable[..., np.ndarray], *aliases: str
) -> Operation:
    since = {"language": 2}
    return Operation(name, compute, 1, since, aliases, compiles=False)


_ACTIVATION_TOO = {"activation": 2}
_ARITHMETIC = (
    _reducing("add", np.add, 0.0, "sum"),
    _reducing("subtract", np.subtract, 0.0),
    _reducing("multiply", np.multiply, 1.0, "prod"),
    _reducing("maximum", np.maximum, -math.inf, "max", "amax"),
    _reducing("minimum", np.minimum, math.inf, "min", "amin"),
    _logical("logical_and", np.logical_and, 1.0),
    _logical("logical_or", np.logical_or, 0.0),
    _logical("logical_xor", np.logical_xor, 0.0),
    _arithmetic("logical_not", _truth(np.logical_not), 1),
    _arithmetic("equal", _truth(np.equal)),
    _arithmetic("not_equal", _truth(np.not_equal)),
    _arithmetic("greater_equal", _truth(np.greater_equal)),
    _arithmetic("greater", _truth(np.greater)),
    _arithmetic("less_equal", _truth(np.less_equal)),
    _arithmetic("less", _truth(np.less)),
    _arithmetic("power", np.power, alu_engine=Engine.gpsimd, aliases=("pow",)),
    _arithmetic("abs_max", _abs_max, generation=4),
    _arithmetic("abs_min", _abs_min, generation=4),
    _arithmetic("divide", np.divide, compiles=False, aliases=("true_divide",)),
    _arithmetic("mod", np.mod, compiles=False, aliases=("remainder",)),
    _arithmetic("fmod", np.fmod, compiles=False),
    _arithmetic("abs", np.abs, 1, also=_ACTIVATION_TOO, aliases=("absolute", "fabs")),
    _arithmetic("square", np.square, 1, generation=4, also=_ACTIVATION_TOO),
    _arithmetic("relu", activations.relu, 1, generation=4, also=_ACTIVATION_TOO),
    _arithmetic(
        "rsqrt",
        activations.rsqrt,
        1,
        also=_ACTIVATION_TOO,
        alu_engine=Engine.gpsimd,
    ),
    _arithmetic(
        "reciprocal",
        np.reciprocal,
        1,
        also=_ACTIVATION_TOO,
    ),
)
_BITVEC = (
    _bitvec("invert", np.invert, 1, aliases=("bitwise_not", "bitwise_invert")),
    _bitvec("bitwise_and", np.bitwise_and, reduction=_by(np.bitwise_and), identity=-1),
    _bitvec("bitwise_or", np.bitwise_or, reduction=_by(np.bitwise_or), identity=0),
    _bitvec("bitwise_xor", np.bitwise_xor, reduction=_by(np.bitwise_xor), identity=0),
    _bitvec("left_shift", _shift(np.left_shift)),
    _bitvec("right_shift", _shift(np.right_shift)),
)
_ACTIVATIONS = (
    _activation("copy", _same),
    _activation("sigmoid", activations.sigmoid),
    _activation("prelu", activations.prelu, arity=2),
    _activation("gelu", activations.gelu),
    _activation("gelu_dx", activations.gelu_dx),
    _activation("gelu_apprx_tanh", activations.gelu_apprx_tanh),
    _activation("gelu_apprx_sigmoid", activations.gelu_apprx_sigmoid),
    _activation("gelu_apprx_sigmoid_dx", activations.gelu_apprx_sigmoid_dx),
    _activation("silu", activations.silu),
    _activation("silu_dx", activations.silu_dx),
    _activation("tanh", np.tanh),
    _activation("softplus", activations.softplus),
    _activation("mish", activations.mish),
    _activation("erf", activations.erf),
    _activation("erf_dx", activations.erf_dx),
    _activation("exp", np.exp),
    _activation("sign", np.sign),
    _activation("log", np.log),
    _activation("sin", activations.sin),
    _activation("arctan", np.arctan),
    _activation("sqrt", np.sqrt),
)
_OTHERS = (
    Operation("bypass", _same, 1, {"special": 4}),
    Operation(
        "average", _average, 2, {"special": 2}, aliases=("mean",), reduction=_mean
    ),
    _language("ceil", np.ceil),
    _language("floor", np.floor),
    _language("trunc", np.trunc),
    _language("negative", np.negative),
    _language("cos", np.cos),
    _language("tan", np.tan),
)
#: Every operation, by name.
OPERATIONS: dict[str, Operation] = {
    o.name: o for o in (*_ARITHMETIC, *_BITVEC, *_ACTIVATIONS, *_OTHERS)
}
_BY_ALIAS = {alias: o for o in OPERATIONS.values() for alias in o.aliases}
