"""Feeds damaged NEFFs to the reader: it returns a NEFF or raises NeffError."""

from __future__ import annotations

import json
import random
import sys
import zlib

from neff import (
    HLO_MEMBER,
    INTERFACE_MEMBER,
    PROGRAM_MEMBER,
    NeffError,
    read_neff,
)
from nkipy_emulator.neff_writer import ProgramDescription, neff_bytes
from tests.fuzz.harness import main
from tests.fuzz.mutate import damage, odd_json
from tests.support.neffs import pack, small_module, tar, tar_member, tar_of, zipped

_GRAPH = {
    "nodes": [
        {"op": "null", "name": "x.must_alias_input"},
        {"op": "tvm_op", "attrs": {"output_names": ["x", "y"]}},
        {"op": "tvm_op", "output_names": '["x", "y"]'},
    ],
    "attrs": {
        "shape": ["list_shape", [[2], [2], [3]]],
        "dltype": ["list_str", ["int8", "int8", "float32"]],
    },
}
_MAP = {"x": {"dtype": "int8", "kind": "output", "tf_shape": [2], "sim_shape": [2]}}
_KINDS = [b"0", b"\0", b"1", b"2", b"5", b"L", b"K", b"x", b"g", b"S", b"7"]


def _corpus() -> list[bytes]:
    ours = [neff_bytes(small_module(), ProgramDescription(compress=c)) for c in (0, 1)]
    members = {"neff.json": _GRAPH, "sg00/tensor_map.json": _MAP}
    payload = tar_of({n: json.dumps(v).encode() for n, v in members.items()})
    return [*ours, pack(payload), pack(zipped(payload), feature_bits=0x209C00)]


CORPUS = _corpus()
PROGRAM, INTERFACE = (
    json.loads(bytes(read_neff(CORPUS[0]).members[name]))
    for name in (PROGRAM_MEMBER, INTERFACE_MEMBER)
)


def make(rng: random.Random) -> bytes:
    """A damaged file, payload, tar, archive member or description."""
    return rng.choice((_file, _payload, _squeezed, _odd_members, _descriptions))(rng)


def _file(rng: random.Random) -> bytes:
    return damage(rng, rng.choice(CORPUS), CORPUS)


def _payload(rng: random.Random) -> bytes:
    payload = damage(rng, rng.choice(CORPUS)[1024:])
    return pack(zipped(payload) if rng.random() < 0.5 else payload)


def _squeezed(rng: random.Random) -> bytes:
    """A gzip stream of much, cut or continued."""
    squeeze = zlib.compressobj(1, zlib.DEFLATED, 31)
    size = rng.choice((0, 1000, 1 << 16, 1 << 20, 1 << 22))
    head = tar_member("a", size=rng.choice((0, size, 1 << 32)))
    raw = squeeze.compress(head + bytes(size)) + squeeze.flush()
    return pack(damage(rng, raw) if rng.random() < 0.5 else raw)


def _odd_members(rng: random.Random) -> bytes:
    names = ["a", "./a", "..", "/a", "a/../b", "", "\x1b", "n" * 100, PROGRAM_MEMBER]
    members = [
        tar_member(
            rng.choice(names),
            damage(rng, b"27 path=" + rng.choice(names).encode() + b"\n"),
            rng.choice(_KINDS),
            size=rng.choice((None, None, 0, 5, 1 << 30)),
        )
        for _ in range(rng.randrange(5))
    ]
    return pack(tar(*members))


def _descriptions(rng: random.Random) -> bytes:
    members = {
        PROGRAM_MEMBER: odd_json(rng, PROGRAM),
        INTERFACE_MEMBER: odd_json(rng, INTERFACE),
        "neff.json": odd_json(rng, _GRAPH),
        "sg00/tensor_map.json": odd_json(rng, _MAP),
        "kelf-0.json": odd_json(rng, {"target": "cayman"}),
        "info.json": odd_json(rng, {"tool_version": "1"}),
    }
    for optional in (PROGRAM_MEMBER, INTERFACE_MEMBER):
        if rng.random() < 0.5:
            del members[optional]
    raw = {name: json.dumps(value).encode() for name, value in members.items()}
    bits = 1 << 62 if PROGRAM_MEMBER in raw else 0
    return pack(tar_of({**raw, HLO_MEMBER: b""}), feature_bits=bits)


def attempt(raw: bytes) -> str:
    """Read it. Raises what the reader should not."""
    try:
        neff = read_neff(raw, validate_hash=len(raw) % 2 == 0)
    except NeffError as e:
        if len(str(e)) > 10_000:
            raise AssertionError(f"an error of {len(str(e))} characters") from e
        return "refused"
    for tensor in (*neff.inputs, *neff.outputs):
        assert tensor.name and tensor.nbytes >= 0
    repr(neff).encode()
    return "read"


if __name__ == "__main__":
    sys.exit(main(make, attempt))
