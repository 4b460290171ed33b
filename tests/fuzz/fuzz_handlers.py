"""Gives handlers programs that do not fit their arrays: numbers, names and orders.

These are the programs that run without XLA (``handler_program.h`` and
``element_program.h``), which call handlers as it does. Each is run, or refused by an
error. Arrays of its caller end where memory ends that may be touched, and what lies
before them is looked at: who reads behind the end, or writes outside, does not get
away with it.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import random
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.proto_shapes import DTYPES
from nkipy_emulator import _xla
from nkipy_emulator.element_programs import element_program
from nkipy_emulator.errors import SimulationError
from nkipy_emulator.fast_calls import know_functions
from nkipy_emulator.handler_programs import handler_program
from tests.fuzz.harness import main
from tests.support.fast_calls import call, traced

#: Of all arrays of a caller.
MAX_BYTES = 1 << 20
#: What reads or writes before an array is in this page.
_BEFORE = 0xA5
_NUMBERS = (
    *(0, 1, 2, 3, 4, 5, 7, 8, 16, 63, 64, 255, 256, 1 << 20, 1 << 31, 1 << 32),
    *(-1, -2, -3, -(1 << 31), (1 << 62) + 1, (1 << 63) - 1, -(1 << 63)),
)
_NAMES = dict(_xla._TARGETS)
_FUNCTIONS = (
    *("tan", "maximum_float64", "add_int32", "gcd_int8", "matmul_float32"),
    *("logical_and_bool", "none", "", "add", "xor", "multiply_uint64"),
)

Program = dict[str, Any]


# ---------------------------------------------------------------- programs that fit


def _array(dtype: Any, *shape: int) -> np.ndarray:
    return np.ones(shape, dtype)


def _traced() -> list[Program]:
    x, y = _array("f4", 6, 40), _array("f4", 33)
    i, flags = _array("i4", 7), _array("?", 5, 9)
    kernels: list[tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = [
        (np.sort, (x,)),
        (lambda x: np.sort(x, axis=0), (_array("i2", 300, 3),)),
        (lambda x: np.argsort(x, axis=1), (x,)),
        (lambda x: np.max(x, axis=0), (x,)),
        (lambda x: np.min(x, axis=1), (x,)),
        (lambda x: np.argmax(x, axis=1), (x,)),
        (lambda x: np.argmin(x, axis=0), (x,)),
        (lambda x: np.cumsum(x, axis=0), (x,)),
        (np.maximum.accumulate, (y,)),
        (np.matmul, (_array("f4", 9, 3, 2), _array("f4", 9, 2, 4))),
        (np.matmul, (_array("f4", 70, 65), _array("f4", 65, 70))),
        (np.matmul, (_array("f4", 12, 40), _array("f4", 40))),
        (lambda x: np.sum(x, axis=0), (x,)),
        (lambda x: np.sum(x, axis=1), (x,)),
        (lambda x: np.pad(x, 2), (x,)),
        (lambda x: np.roll(x, 3, 1), (x,)),
        (lambda x: np.concatenate([x, x[:, :7]], 1), (x,)),
        (lambda x, i: x[i], (x, i)),
        (lambda x, i: x[i], (y, i)),
        (np.where, (flags, _array("i4", 5, 9), _array("i4", 5, 9))),
        (lambda x: x.astype(np.float32), (_array("i4", 5, 9),)),
        (lambda x: np.sum(x, axis=0, dtype=np.int32), (flags,)),
        (np.count_nonzero, (flags,)),
        (np.gcd, (i, i)),
        (np.tan, (x,)),
        (lambda x: np.sort(np.tan(x) + 1, axis=1), (x,)),
    ]
    made = []
    for function, arguments in kernels:
        program = handler_program(traced(function, *arguments), mode="always")
        if program is not None:
            made.append(_written(program))
    return made


def _written(program: Any) -> Program:
    """As JSON has it, with names of handlers and bytes as texts."""
    names = {id(capsule): name for name, capsule in _NAMES.items()}
    steps = [[names[id(target)], *rest] for target, *rest in program.steps]
    fields = program._asdict()
    fields |= {"steps": steps, "constants": [c.hex() for c in program.constants]}
    return json.loads(json.dumps({"kind": "handlers", **fields}))


def _made() -> list[Program]:
    x, places = _array("f4", 6, 40), (6, 1, 2, 2, 40, 3, 5, 4)
    by_hand = [
        ("nkipy_copy", {"words": (), "elements": 240}, [x], x),
        ("nkipy_strided_store", {"places": places}, [x, _array("f4", 8)], x),
        ("nkipy_blank", {}, [], x),
    ]
    functions = [
        ("maximum_float32", "f4"),
        ("add_int32", "i4"),
        ("logical_or_bool", "?"),
    ]
    assert know_functions([name for name, _ in functions])
    for name, dtype in functions:
        attributes = {"words": (), "function": name, "axes": (2, 3, 40)}
        by_hand.append(
            ("nkipy_fold", attributes, [_array(dtype, 6, 40)], _array(dtype, 80))
        )
    for by in ("add", "maximum", "and"):
        attributes = {"words": (), "by": by, "axes": (2, 3, 40)}
        operands = [_array("i4", 6, 40), _array("i4")]
        by_hand.append(("nkipy_scan", attributes, operands, _array("i4", 6, 40)))
    small = {"words": (), "sizes": (9, 3, 2, 4), "turned": (0, 1)}
    operands = [_array("f4", 9, 3, 2), _array("f4", 9, 4, 2)]
    by_hand.append(("nkipy_small_products", small, operands, _array("f4", 9, 3, 4)))
    join = {"words": (), "rows": 6, "pieces": (0, 40, 5, 35, 1, 40, 0, 5)}
    by_hand.append(("nkipy_join", join, [x, x], x))
    return [
        _written(call(name, attributes, arguments, [result]))
        for name, attributes, arguments, result in by_hand
    ]


def _elements() -> Program:
    program = element_program(
        traced(lambda x: np.arctan2(np.tan(x), 3), _array("f4", 9))
    )
    assert program is not None
    return json.loads(json.dumps({"kind": "elements", **program._asdict()}))


CORPUS = [*_traced(), *_made(), _elements()]


# ---------------------------------------------------------------- programs that do not


def make(rng: random.Random) -> bytes:
    """A program with some of its parts replaced."""
    program = json.loads(json.dumps(rng.choice(CORPUS)))
    # Attributes mostly: they are what handlers go by.
    attributes = [step[1] for step in program["steps"] if step[1]]
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        lists = [part for part in program.values() if isinstance(part, list)]
        of_step = program["kind"] == "handlers" and rng.random() < 0.7
        _alter(rng, rng.choice(attributes) if of_step and attributes else lists)
    return json.dumps(program).encode()


def _alter(rng: random.Random, parts: list[Any]) -> None:
    """Change one item of the list, or of a list in it."""
    if not parts:
        parts.append(rng.choice(_NUMBERS))
        return
    at = rng.randrange(len(parts))
    part, action = parts[at], rng.random()
    if action < 0.05:
        del parts[at]
    elif action < 0.1:
        parts.insert(at, part)
    elif action < 0.13:
        rng.shuffle(parts)
    elif isinstance(part, list):
        _alter(rng, part)
    elif isinstance(part, str):
        parts[at] = rng.choice((*_FUNCTIONS, *_NAMES))
    else:
        parts[at] = _other(rng, int(part))


def _other(rng: random.Random, number: int) -> int:
    """Another number, which may make the same product with a third."""
    ways = (
        lambda: rng.choice(_NUMBERS),
        lambda: number + rng.choice((-1, 1)),
        lambda: -number,
        lambda: number * 2,
        lambda: number // 2,
        lambda: pow(number | 1, -1, 1 << 64) - (1 << 63),
        lambda: rng.randrange(-100, 100),
    )
    return rng.choice(ways)()


# ---------------------------------------------------------------- running them


class _Guarded:
    """An array whose end is that of memory which may be touched."""

    _libc = ctypes.CDLL(None, use_errno=True)

    def __init__(self, nbytes: int, content: bytes) -> None:
        page = mmap.PAGESIZE
        self._before = (-nbytes % page) + page
        size = self._before + nbytes
        self._memory = mmap.mmap(-1, size + page)
        whole = np.frombuffer(self._memory, np.uint8)
        whole[: self._before] = _BEFORE
        self.array = whole[self._before : size]
        self.array[:] = np.resize(np.frombuffer(content, np.uint8), nbytes)
        address = whole.ctypes.data + size
        if self._libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(page), 0):
            raise OSError(ctypes.get_errno(), "mprotect")
        self._whole = whole
        self._given = self.array.copy()

    def check(self, is_given: bool) -> None:
        if (self._whole[: self._before] != _BEFORE).any():
            raise AssertionError("what lies before an array has been written to")
        if is_given and (self.array != self._given).any():
            raise AssertionError("an argument has been written to")


def attempt(raw: bytes) -> str:
    """Run it. Raises what it should not."""
    program = json.loads(raw)
    kind = program.pop("kind")
    try:
        sizes = _sizes(kind, program)
    except (LookupError, TypeError, ValueError):
        return "not tried"
    if sum(map(sum, sizes)) > MAX_BYTES or min((0, *sizes[0], *sizes[1])) < 0:
        return "not tried"
    try:
        runner = _xla.direct_runner(*sizes, kind, _read(kind, program))
    except (ValueError, TypeError, OverflowError, MemoryError, SystemError):
        return "refused"
    arrays = [[_Guarded(size, raw) for size in part] for part in sizes]
    try:
        runner.run(*[[guarded.array for guarded in part] for part in arrays])
    except SimulationError:
        return "refused by a handler"
    except MemoryError:
        return "without memory"
    finally:
        for part, is_given in zip(arrays, (True, False)):
            for guarded in part:
                guarded.check(is_given)
    return f"run by {kind}"


def _sizes(kind: str, program: Program) -> tuple[list[int], list[int]]:
    """Bytes of the caller's arrays, as the program has them."""
    if kind == "elements":
        nbytes = program["elements"] * dt.float32.itemsize
        if program["inputs"] > 100:
            raise ValueError
        return [nbytes] * program["inputs"], [nbytes] * len(program["results"])
    values = program["values"]

    def nbytes_of(number: int) -> int:
        element, shape, _ = values[number]
        size = DTYPES[element].itemsize
        for dimension in shape:
            size *= dimension
        return size

    given = [nbytes_of(i) for i in range(program["inputs"])]
    return given, [nbytes_of(i) for i in program["results"]]


def _read(kind: str, program: Program) -> tuple[Any, ...]:
    if kind == "handlers":
        program["constants"] = [bytes.fromhex(text) for text in program["constants"]]
        for step in program["steps"]:
            step[0] = _NAMES.get(step[0], step[0])
    return tuple(_frozen(value) for value in program.values())


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


if __name__ == "__main__":
    sys.exit(main(make, attempt))
