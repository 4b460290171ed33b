"""Ways to damage bytes and JSON."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from typing import Any

_SIZES = (0, 1, 127, 128, 255, 256, 1 << 16, 1 << 31, (1 << 32) - 1, 1 << 62, -1)


def damage(rng: random.Random, raw: bytes, corpus: Sequence[bytes] = ()) -> bytes:
    """`raw` after one to eight edits, some with pieces of `corpus`."""
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        rng.choice(_EDITS)(rng, data)
        if corpus and rng.random() < 0.1:
            other = rng.choice(corpus)
            cut, at = rng.randrange(len(other) + 1), rng.randrange(len(data) + 1)
            data[at:] = other[cut:]
    return bytes(data)


def _at(rng: random.Random, data: bytearray) -> int:
    return rng.randrange(len(data)) if data else 0


def _flip(rng: random.Random, data: bytearray) -> None:
    if data:
        data[_at(rng, data)] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, data: bytearray) -> None:
    if data:
        data[_at(rng, data)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _number(rng: random.Random, data: bytearray) -> None:
    at = _at(rng, data)
    form = rng.choice(("<Q", "<I", ">I", "<H"))
    size = struct.calcsize(form)
    value = rng.choice(_SIZES) & ((1 << 8 * size) - 1)
    data[at : at + size] = struct.pack(form, value)


def _cut(rng: random.Random, data: bytearray) -> None:
    at = _at(rng, data)
    del data[at : at + rng.choice((1, 2, 16, 512, len(data)))]


def _insert(rng: random.Random, data: bytearray) -> None:
    at = _at(rng, data)
    data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 64, 512)))


def _repeat(rng: random.Random, data: bytearray) -> None:
    at = _at(rng, data)
    piece = data[at : at + rng.choice((1, 8, 64, 512, 4096))]
    data[at:at] = piece * rng.choice((1, 1, 2, 100))


def _swap(rng: random.Random, data: bytearray) -> None:
    a, b = _at(rng, data), _at(rng, data)
    size = rng.choice((1, 8, 512))
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


_EDITS = (_flip, _flip, _set, _number, _cut, _insert, _repeat, _swap)

_ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 1 << 63, 1 << 70, "", "x", "\ud800", "a" * 300),
    *([], {}, [[]], [0], [-1], [1 << 40] * 3, {"name": 1}),
)


def odd_json(rng: random.Random, value: Any) -> Any:
    """`value` with one of its parts, at any depth, removed, doubled or replaced."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value, key=str))
        if rng.random() < 0.2:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: odd_json(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        if rng.random() < 0.2:
            return [*value, *value[at : at + 1]]
        return [*value[:at], odd_json(rng, value[at]), *value[at + 1 :]]
    return rng.choice(_ODD_VALUES)
