"""Damages what programs are written as: nothing but an error may come of it."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from nkipy_nki.dtypes import DTYPES
from nkipy_nki.errors import NkiProgramError, NkiValidationError
from nkipy_nki.operators import OPERATIONS
from nkipy_nki.records import INSTRUCTIONS
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.replaying import replay
from nkipy_nki.wire import decode
from nkipy_nki.wire.framing import HEADER, MAGIC, VERSION

__all__ = ["alter", "damage", "packed", "run_damaged", "unpacked"]

_ODD = (None, True, -1, 0, 1, 7, 1 << 40, 1 << 70, 0.5, "", "sbuf", [], {}, [[]])


def _places(found: Any) -> list[tuple[Any, Any]]:
    """Every container of a document, with each of its keys."""
    items: Any = ()
    if isinstance(found, dict):
        items = list(found.items())
    elif isinstance(found, list):
        items = list(enumerate(found))
    return [(found, k) for k, _ in items] + [p for _, v in items for p in _places(v)]


def damage(document: Any, rng: random.Random) -> None:
    """Put something odd in one or two places of a document, as JSON has it."""
    for _ in range(rng.randint(1, 2)):
        container, key = rng.choice(_places(document))
        container[key] = deepcopy(rng.choice(_ODD))


def unpacked(data: bytes) -> tuple[bytes, bytes]:
    """The text, as JSON has it, and the constants of programs' bytes."""
    _, _, size = HEADER.unpack_from(data)
    end = HEADER.size + size
    return data[HEADER.size : end], data[end:]


def packed(text: bytes, constants: bytes = b"", version: int = VERSION) -> bytes:
    """Programs' bytes of a text and constants."""
    return HEADER.pack(MAGIC, version, len(text)) + text + constants


def run_damaged(data: bytes, seed: int, arrays: Sequence[np.ndarray]) -> None:
    """Damage programs in a hundred ways: each is refused, or runs."""
    rng = random.Random(seed)
    text, constants = unpacked(data)
    for _ in range(100):
        document = json.loads(text)
        damage(document, rng)
        damaged = packed(json.dumps(document).encode(), constants)
        try:
            replay(decode(damaged), [array.copy() for array in arrays])
        except (NkiProgramError, NkiValidationError):
            continue


# -- programs that are made as programs are ------------------------------------------
_COUNTS = (0, 1, 2, 3, 4, 16, 127, 128, 129, 512)
_WHOLE = (-1, *_COUNTS, 1 << 20, 1 << 31, 1 << 40, 1 << 62)
_NUMBERS = (*_WHOLE, 1 << 70, 0.5, -0.0, 1e30, math.nan, math.inf, True, False, None)
_REGIONS = tuple(region.value for region in MemoryRegion)


def alter(program: dict[str, Any], rng: random.Random) -> None:
    """Change numbers, shapes, ids, strides and names of a program, as JSON has it.

    It stays made as programs are: most of what comes of it is asked for its rules, and
    some of it runs.
    """
    changes: list[Callable[[dict[str, Any], random.Random], None]] = [
        *(_alter_view, _alter_view, _index_view, _alter_tensor),
        *(_alter_operand, _alter_attribute, _alter_attribute, _alter_instruction),
        _put_in_a_loop,
    ]
    for _ in range(rng.randint(1, 2)):
        rng.choice(changes)(program, rng)


def _one(table: list[Any], rng: random.Random) -> Any:
    return rng.randrange(max(len(table), 1))


def _alter_view(program: dict[str, Any], rng: random.Random) -> None:
    if not program["views"]:
        return
    view = rng.choice(program["views"])
    field = rng.randrange(5)
    if field == 0:
        view[0] = _one(program["allocations"], rng)
    elif field == 1:
        view[1] = rng.choice(list(DTYPES))
    elif field == 2:
        view[2] = max(0, view[2] + rng.choice((1, -1, 8, 32, 128, 512)))
    elif view[field] and field == 3:
        _alter_count(view[3], rng)
    elif view[field]:
        axis = rng.randrange(len(view[4]))
        view[4][axis] = rng.choice((0, 1, -1, 2, -view[4][axis], 2 * view[4][axis]))
    if rng.random() < 0.1 and len(view[3]) == len(view[4]):
        view[3].insert(0, 1)
        view[4].insert(0, rng.choice(_WHOLE))


def _alter_count(shape: list[int], rng: random.Random) -> None:
    axis = rng.randrange(len(shape))
    count = shape[axis]
    shape[axis] = rng.choice((*_COUNTS, count - 1, count + 1, 2 * count, count // 2))


def _index_view(program: dict[str, Any], rng: random.Random) -> None:
    if not program["views"]:
        return
    program["registers"] = max(1, program["registers"])
    index = {"view": _one(program["views"], rng)}
    link = [
        rng.choice((index, {"register": [0, "int32"]})),
        rng.choice((0, 1, -1, 3, 1 << 40)),
        rng.choice((0, 1, 5, 1 << 30)),
        rng.choice((None, 0, 1)),
        rng.random() < 0.3,
    ]
    rng.choice(program["views"])[5:] = [link]


def _alter_tensor(program: dict[str, Any], rng: random.Random) -> None:
    if not program["allocations"]:
        return
    tensor = rng.choice(program["allocations"])
    if tensor[1] and rng.random() < 0.5:
        _alter_count(tensor[1], rng)
        return
    field, values = rng.choice(
        [
            (0, _REGIONS),
            (2, tuple(DTYPES)),
            (5, (None, [0, 0], [127, 1 << 30])),
            (6, ("local", "input", "constant")),
            (7, (None, 0, 1)),
        ]
    )
    tensor[field] = rng.choice(values)


def _instruction(program: dict[str, Any], rng: random.Random) -> Any:
    step = rng.choice(program["body"])
    while isinstance(step, dict):
        step = rng.choice(step["loop"][3])
    return step


def _alter_operand(program: dict[str, Any], rng: random.Random) -> None:
    operands = _instruction(program, rng)[1]
    if operands:
        view = {"view": _one(program["views"], rng)}
        number = rng.choice(_NUMBERS)
        operands[rng.choice(list(operands))] = rng.choice((view, view, number, [view]))


def _alter_attribute(program: dict[str, Any], rng: random.Random) -> None:
    attributes = _instruction(program, rng)[2]
    if not attributes:
        return
    container, key = attributes, rng.choice(list(attributes))
    while isinstance(container[key], list) and container[key] and rng.random() < 0.8:
        container = container[key]
        key = rng.randrange(len(container))
    names = list(OPERATIONS) if isinstance(container[key], str) else []
    container[key] = rng.choice((*_NUMBERS, *names, "float32", [], [0], [[0, 1]]))


def _alter_instruction(program: dict[str, Any], rng: random.Random) -> None:
    """Name another record, or another engine."""
    step = _instruction(program, rng)
    if rng.random() < 0.5:
        step[3] = rng.randrange(8)
        return
    given = set(step[1]) | set(step[2])
    others = [
        name
        for name, record in INSTRUCTIONS.items()
        if set(record.signature.parameters) - {"name"} == given
    ]
    step[0] = rng.choice(others or list(INSTRUCTIONS))


def _put_in_a_loop(program: dict[str, Any], rng: random.Random) -> None:
    program["registers"] = max(1, program["registers"])
    bounds = [rng.choice((-1, 0, 2)), rng.choice((0, 3)), rng.choice((1, 1 << 62))]
    program["body"] = [{"loop": [[0, "int32"], bounds, 0, program["body"]]}]
