"""Damaged NEFFs: an error or a NEFF, soon and in little memory, and nothing else."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from neff import NeffError, read_neff
from nkipy_emulator.neff_writer import ProgramDescription, neff_bytes
from tests.support.neffs import pack, small_module, tar_of, zipped

PLAIN = neff_bytes(small_module(), ProgramDescription(compress=False))
ZIPPED = neff_bytes(small_module(), ProgramDescription())
GENUINE = pack(
    zipped(tar_of({"neff.json": b'{"nodes": []}', "sg00/PE.bin": bytes(999)})),
    feature_bits=0x209C00,
)
MOST_MEMORY = 8 << 20

_edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "zero", "repeat"]),
        st.floats(0, 1),
        st.binary(min_size=1, max_size=16),
    ),
    min_size=1,
    max_size=6,
)


def _edit(raw: bytes, edits: list[tuple[str, float, bytes]]) -> bytes:
    data = bytearray(raw)
    for kind, where, what in edits:
        at = int(where * max(len(data) - 1, 0))
        if kind == "flip" and data:
            data[at] ^= what[0] or 1
        elif kind == "cut":
            del data[at : at + 256 * what[0] + 1]
        elif kind == "insert":
            data[at:at] = what
        elif kind == "zero":
            data[at : at + len(what)] = bytes(len(what))
        elif kind == "repeat":
            data += data[at : at + 512]
    return bytes(data)


def _read(raw: bytes) -> None:
    tracemalloc.start()
    try:
        neff = read_neff(raw)
        repr(neff)
    except NeffError as e:
        assert str(e) and len(str(e)) < 2000
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MOST_MEMORY


@given(st.sampled_from([PLAIN, ZIPPED, GENUINE]), _edits)
def test_damaged_files(raw: bytes, edits: list[tuple[str, float, bytes]]) -> None:
    _read(_edit(raw, edits))


@given(_edits)
def test_damaged_payloads_behind_a_header_that_fits(
    edits: list[tuple[str, float, bytes]],
) -> None:
    _read(pack(_edit(PLAIN[1024:], edits)))
    _read(pack(zipped(_edit(PLAIN[1024:], edits))))


@given(st.integers(0, len(ZIPPED)))
def test_truncated_files(length: int) -> None:
    for raw in (ZIPPED, PLAIN):
        if length < len(ZIPPED):
            _read(raw[:length])
            _read(pack(raw[1024:length]))


@given(st.binary(max_size=4096))
def test_noise(raw: bytes) -> None:
    _read(raw)
    _read(pack(raw))
