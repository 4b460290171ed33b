"""Writes a random program, step by step, with NumPy beside it.

Each step is tried by NumPy before it is taken, so that programs run, and the next step
knows the shapes and values there are.
"""

from __future__ import annotations

import random
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from tests.support.programs.text import MISTAKES, Program, reference

#: Dtypes as the text writes them, and how often each is taken.
DTYPES = {
    **{"f32": 8, "i32": 4, "np.float16": 2, "bool": 2, "np.int8": 2, "np.uint8": 2},
    **{"np.uint32": 1, "np.int16": 1, "np.int64": 1, "np.float64": 1},
}
LOW_DTYPES = {**DTYPES, "bf16": 8, "e4m3": 3, "e5m2": 3}
SHAPES = [(), (), (1,), (3,), (4,), (2, 3), (2, 3), (3, 1), (3, 3), (0, 3), (2, 3, 4)]
_MAX_SIZE = 2000
#: What a float may be to be an operand: a multiple of 1/64 up to 2048, or not finite.
#: Whatever is computed of such by one step is exact, or rounded once, in both.
_GRID, _MAX_FLOAT = 64, 2048
#: Integers beyond it are not exact in float32.
_WIDE = 1 << 20
_INT32 = np.iinfo(np.int32)

#: How often a wrong step is left in a program, as its last one.
_MISTAKEN = 0.04

#: What NumPy refuses of its scalars, where a kernel has arrays of no dimension.
_SCALARS = re.compile("item assignment|must be of ArrayType")

_SIGNS = re.compile("copysign|signbit")

Values = dict[str, Any]
Step = Callable[["Writer"], str]


class Unfit(Exception):
    """There is nothing in the program that a step could be about."""


def evaluate(program: Program) -> Values:
    """What NumPy has of each of a program's names, after its last step."""
    names = _names(program)
    returned = "{" + ", ".join(f"'{name}': {name}" for name in names) + "}"
    made = reference(str(replace(program, returned=returned)))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # NumPy is about to change its mind: who may write into broadcast arrays.
        warnings.simplefilter("error", FutureWarning)
        found: Values = made["program"](*made["arguments"]())
    return found


def _names(program: Program) -> list[str]:
    text = "\n".join([*program.unpacking, *program.steps])
    assigned = re.findall(r"^([vk]\d+|a\d+)(?:, ([vk]\d+))? =", text, re.M)
    arguments = [name for name in program.arguments if name.startswith("a")]
    names = [*arguments, *(n for pair in assigned for n in pair if n)]
    return list(dict.fromkeys(names))


def _as_array(value: Any) -> np.ndarray:
    return np.asarray(value).view(np.ndarray)


def is_exact(value: Any) -> bool:
    """Whether steps may compute with `value`: what follows is the same in float32."""
    array = _as_array(value)
    if array.dtype.kind in "biu":
        return array.dtype != np.uint64  # which makes float64 of integers
    wide = array.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    small = np.abs(finite) <= _MAX_FLOAT
    return bool(np.all(small & (finite * _GRID == np.rint(finite * _GRID))))


def is_writable(x: np.ndarray) -> bool:
    """Whether a store into `x` is one, and not deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return x.flags.writeable


def is_narrow(value: Any) -> bool:
    """Whether integers are exact in float32."""
    array = _as_array(value)
    if array.dtype.kind not in "iu" or not array.size:
        return True
    return bool(np.max(np.abs(array.astype(np.float64))) <= _WIDE)


def is_finite(value: Any) -> bool:
    return bool(np.isfinite(_as_array(value).astype(np.float64)).all())


def _representable(value: Any) -> bool:
    """Whether a kernel has such a dtype, and these numbers."""
    array = _as_array(value)
    if array.dtype.kind in "OScUMm" or array.size > _MAX_SIZE:
        return False
    if array.dtype == np.float64:
        return bool(
            np.all(~(np.abs(array) > np.finfo(np.float32).max) | np.isinf(array))
        )
    if array.dtype.kind not in "iu" or array.dtype.itemsize < 8 or not array.size:
        return True
    top = 2 * _INT32.max + 1 if array.dtype.kind == "u" else _INT32.max
    return bool(array.min() >= _INT32.min and array.max() <= top)


class Writer:
    """A program in the making, and what NumPy has of it.

    Attributes:
        rng: all randomness comes from it.
        program: what is written.
        values: what NumPy has of each name.
        is_wrong: whether NumPy refuses the last step.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.program = Program(low=rng.random() < 0.4)
        self.values: Values = {}
        self.is_wrong = False
        self._made = 0

    # -- for steps ---------------------------------------------------------------------
    def new(self) -> str:
        """A name that the program has not."""
        self._made += 1
        return f"v{self._made}"

    def choose(self, *options: Any) -> Any:
        return self.rng.choice(options)

    def maybe(self, chance: float, text: str) -> str:
        return text if self.rng.random() < chance else ""

    def dtype(self) -> str:
        """A dtype's name."""
        table = LOW_DTYPES if self.program.low else DTYPES
        return self.rng.choices(list(table), list(table.values()))[0]

    def shape(self) -> tuple[int, ...]:
        return self.rng.choice(SHAPES)

    def pick(self, fits: Callable[[np.ndarray], Any] = lambda x: True) -> str:
        """The name of a value that fits, the later ones more often.

        Raises:
            Unfit: there is none.
        """
        fitting = [
            name
            for name, value in self.values.items()
            if is_exact(value) and fits(_as_array(value))
        ]
        if not fitting:
            raise Unfit
        return self.rng.choices(fitting, range(2, len(fitting) + 2))[0]

    def array(self, least: int = 1) -> str:
        """The name of an array of so many dimensions at least, and with elements."""
        return self.pick(lambda x: x.ndim >= least and x.size)

    def floats(self) -> str:
        return self.pick(lambda x: x.dtype.kind not in "biu")

    def integers(self) -> str:
        return self.pick(lambda x: x.dtype.kind in "iu")

    def writable(self) -> str:
        """The name of an array: a scalar cannot be written."""
        return self.pick(is_writable)

    def of(self, name: str) -> np.ndarray:
        """What NumPy has of a name."""
        return _as_array(self.values[name])

    def beside(self, name: str) -> str:
        """Something that broadcasts with `name`: a value, captured, or a scalar."""
        shape = self.of(name).shape

        def fits(x: np.ndarray) -> bool:
            return all(
                a == b or 1 in (a, b) for a, b in zip(x.shape[::-1], shape[::-1])
            )

        if self.rng.random() < 0.25:
            return self.scalar()
        return self.pick(fits)

    def scalar(self) -> str:
        """A number as a program writes one, or has at hand."""
        return self.choose(
            *("2", "-1", "0", "3", "0.5", "2.0", "True", "-0.0", "N", "len('abc')"),
            *("f32(2)", "np.int64(3)", "np.sqrt(64)", "i32(2)", "np.float16(0.5)"),
            *("np.array(2)", "np.array(0.5, f32)", "np.pi * 0", "inf", "nan"),
        )

    def axis(self, name: str) -> int:
        """One of the dimensions."""
        ndim = self.of(name).ndim
        if not ndim:
            raise Unfit
        return self.rng.randrange(-ndim, ndim)

    def index(self, name: str) -> str:
        """A basic index of an array, as text."""
        shape = self.of(name).shape
        parts = [self._along(n) for n in shape[: self.rng.randint(0, len(shape))]]
        if self.rng.random() < 0.2:
            parts.insert(self.rng.randint(0, len(parts)), "None")
        if self.rng.random() < 0.2:
            parts.append("...")
        return ", ".join(parts) or "..."

    def _along(self, n: int) -> str:
        options = [":", "::-1", "1:", ":-1", "::2", "-2:", "1:1"]
        if n:
            options += [str(self.rng.randrange(-n, n)) for _ in range(4)]
        return self.rng.choice(options)

    # -- taking steps ------------------------------------------------------------------
    def take(self, step: Step) -> bool:
        """Write a step, if it has something to be about and NumPy can do it."""
        made = self._made
        try:
            text = step(self)
        except (Unfit, ValueError, IndexError):  # nothing to be about
            self._made = made
            return False
        longer = replace(self.program, steps=[*self.program.steps, text])
        try:
            values = evaluate(longer)
        except MISTAKES as error:
            if self.rng.random() < _MISTAKEN and not _SCALARS.search(str(error)):
                self.program, self.is_wrong = longer, True
            self._made = made
            return False
        except Exception:
            self._made = made
            return False
        if not self._is_determined(text, values):
            self._made = made
            return False
        self.program, self.values = longer, values
        return True

    def _is_determined(self, text: str, values: Values) -> bool:
        """Whether a step has one right result: that of 64 bits in 32 bits, too."""
        if not all(map(_representable, values.values())):
            return False
        used = [values[n] for n in set(re.findall(r"\b[avk]\d+", text)) & set(values)]
        if _SIGNS.search(text) and not all(map(is_finite, used)):
            return False  # the sign of a NaN that is computed is anyone's
        if all(map(is_narrow, used)):
            return True
        return all(_as_array(v).dtype.kind in "biu" for v in used)


def literal(rng: random.Random, shape: Sequence[int], dtype: str) -> str:
    """An array as text: small numbers, and special ones now and then."""
    count = int(np.prod(shape))
    special = rng.random() < 0.25
    numbers = [_number(rng, dtype, special) for _ in range(count)]
    text = f"np.array([{', '.join(numbers)}], {dtype})"
    return text if len(shape) == 1 else f"{text}.reshape({tuple(shape)})"


def _number(rng: random.Random, dtype: str, special: bool) -> str:
    np_dtype = np.dtype(_DTYPE_OF[dtype])
    if np_dtype.kind == "b":
        return rng.choice(["False", "True"])
    if np_dtype.kind in "iu":
        if special and rng.random() < 0.4:
            info = np.iinfo(_NARROWED.get(np_dtype, np_dtype))
            return str(rng.choice([info.min, info.max]))
        return str(rng.randint(0 if np_dtype.kind == "u" else -3, 4))
    if special and rng.random() < 0.4:
        return rng.choice(["inf", "-inf", "nan", "-0.0"])
    return str(rng.choice([-3, -2, -1, 0, 1, 2, 3, 4, 0.5, -1.5]))


_DTYPE_OF: dict[str, Any] = {
    "f32": np.float32,
    "i32": np.int32,
    "bool": bool,
    "bf16": ml_dtypes.bfloat16,
    "e4m3": ml_dtypes.float8_e4m3,
    "e5m2": ml_dtypes.float8_e5m2,
    **{
        f"np.{name}": getattr(np, name)
        for name in "float16 int8 uint8 int16 uint32 int64 float64".split()
    },
}
_NARROWED = {np.dtype(np.int64): np.int32}


def laid_out(rng: random.Random, text: str, ndim: int) -> str:
    """The array of an expression, in another layout now and then."""
    if not ndim or rng.random() < 0.6:
        return text
    return rng.choice(
        [
            f"np.asfortranarray({text})",
            f"np.repeat({text}, 2, 0)[::2]",
            f"np.flip({text}).copy()[{', '.join(['::-1'] * ndim)}]",
            f"np.concatenate([{text}, {text}], -1)[..., : {text}.shape[-1]]",
            f"{text}.T.copy().T",
        ]
    )


def random_program(rng: random.Random) -> Program:
    """A program of 1 to 12 steps, on one to four arrays, some of them in objects."""
    from tests.support.programs.steps import STEPS

    writer = Writer(rng)
    _begin(writer)
    steps, weights = zip(*STEPS)
    wanted, tries = rng.randint(1, 12), 60
    while len(writer.program.steps) < wanted and tries and not writer.is_wrong:
        tries -= 1
        writer.take(rng.choices(steps, weights)[0])
    writer.program.returned = ", ".join(_results(writer)) or "None"
    if not writer.is_wrong and not _runs_twice(writer.program):
        writer.program.changes = []
    return writer.program


def _runs_twice(program: Program) -> bool:
    """Whether NumPy runs it with what it captures changed."""
    made = reference(str(program))
    try:
        made["change"]()
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made["program"](*made["arguments"]())
    except Exception:
        return False
    return True


def _begin(writer: Writer) -> None:
    rng, program = writer.rng, writer.program
    shapes = [writer.shape() for _ in range(rng.randint(1, 4))]
    made = [_argument(writer, shape) for shape in shapes]
    names = [f"a{i}" for i in range(len(made))]
    if len(made) > 1 and rng.random() < 0.35:
        form, unpack = rng.choice(_OBJECTS)
        first, second = made[-2:]
        program.arguments = dict(zip(names[:-2], made[:-2]))
        program.arguments["o"] = form.format(first, second)
        program.unpacking = [
            f"{name} = {text}" for name, text in zip(names[-2:], unpack)
        ]
    else:
        program.arguments = dict(zip(names, made))
    program.captured = [
        f"N = {rng.choice(['2', '0.5', '3', 'np.float32(2)'])}",
        f"C = {literal(rng, rng.choice([(3,), (1,), (2, 3)]), rng.choice(_CAPTURED))}",
        "O = Pair(np.array([1, 2, 3], f32), [np.array(3, i32), C])",
    ]
    program.changes = rng.choice(
        [[], ["C[...] = C[::-1].copy()"], ["global N", "N = 4"], ["O.left[1] = 3"]]
    )
    writer.values = evaluate(program)


_CAPTURED = ["f32", "i32", "bool", "np.float64", "np.int64"]
#: How two arrays are passed in one object, and taken from it.
_OBJECTS = [
    ("Pair({}, {})", ("o.left", "o.right")),
    ("Two({}, {})", ("o.first", "o.second")),
    ("[{}, 3, {}]", ("o[0]", "o[2]")),
    ("dict(x={}, y=({}, None))", ("o['x']", "o['y'][0]")),
    ("Pair([{}], dict(w={}), 3.0)", ("o.left[0]", "o.right['w']")),
]


def _argument(writer: Writer, shape: tuple[int, ...]) -> str:
    text = literal(writer.rng, shape, writer.dtype())
    return laid_out(writer.rng, text, len(shape))


def _results(writer: Writer) -> Iterator[str]:
    """What the program returns: most values, some of them in objects."""
    names = [name for name in writer.values if writer.rng.random() < 0.8]
    for name in names:
        form = writer.choose(*["{0}"] * 6, "[{0}, 2]", "dict(r={0})", "Pair({0}, None)")
        yield form.format(name)
