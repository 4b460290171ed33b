"""The container: header fields at their offsets, and what is refused."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import pytest

from neff import Limits, NeffError, read_header
from neff.container import NeffHeader, read_container
from tests.support.neffs import pack, tar, tar_member, zipped

ONE = tar(tar_member("a.json", b"{}"))


def _header(**changes: object) -> NeffHeader:
    fields: dict[str, object] = {
        "pkg_version": 2,
        "header_size": 1024,
        "data_size": 7,
        "neff_version": (2, 1),
        "build_version": "build",
        "num_tpb": 3,
        "hash": bytes(range(32)),
        "uuid": bytes(range(16)),
        "name": "file.neff",
        "requested_tpb_count": 5,
        "tpb_per_node": bytes(range(64)),
        "feature_bits": 0x209C00,
        "lnc_size": 2,
    }
    return NeffHeader(**{**fields, **changes})  # type: ignore[arg-type]


def test_fields_stand_at_the_documented_offsets() -> None:
    raw = _header().pack()
    assert len(raw) == 1024
    u64 = {0: 2, 8: 1024, 16: 7, 24: 2, 32: 1, 544: 0x209C00}
    u32 = {168: 3, 476: 5, 552: 2}
    for offset, value in u64.items():
        assert struct.unpack_from("<Q", raw, offset) == (value,)
    for offset, value in u32.items():
        assert struct.unpack_from("<I", raw, offset) == (value,)
    assert raw[40:46] == b"build\0" and raw[220:230] == b"file.neff\0"
    assert raw[172:204] == bytes(range(32)) and raw[204:220] == bytes(range(16))
    assert raw[480:544] == bytes(range(64)) and not any(raw[556:])


def test_header_round_trip() -> None:
    header = _header()
    assert NeffHeader.unpack(header.pack(), 1024 + 7) == header


@pytest.mark.parametrize(
    "change", [{"name": "n" * 257}, {"hash": bytes(33)}, {"num_tpb": 1 << 32}]
)
def test_header_refuses_what_does_not_fit(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        _header(**change).pack()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "header of 1024 bytes; found 0"),
        (bytes(1023), "found 1023"),
        (bytes(2000), "header size is 0, expected 1024"),
        (pack(ONE, pkg_version=3), "package version 3 is unknown; expected 1 or 2"),
        (pack(ONE, header_size=1 << 60), "expected 1024"),
        (pack(ONE, data_size=len(ONE) - 1), f"{len(ONE) - 1} bytes of data"),
        (pack(ONE, data_size=(1 << 64) - 1), "truncated, or not a NEFF"),
        (pack(ONE)[:-1], "truncated"),
    ],
)
def test_what_is_no_header_is_refused(content: bytes, text: str) -> None:
    with pytest.raises(NeffError, match=text):
        read_container(content)


@pytest.mark.parametrize("payload", [ONE, zipped(ONE)])
def test_plain_and_gzipped_payloads(payload: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.neff"
    path.write_bytes(pack(payload))
    for source in (path, str(path), path.read_bytes(), memoryview(path.read_bytes())):
        members = read_container(source).members
        assert {name: bytes(m) for name, m in members.items()} == {"a.json": b"{}"}
    assert read_header(path).data_size == len(payload)


def test_the_hash_is_compared_only_if_asked() -> None:
    good = pack(ONE)
    read_container(good, validate_hash=True)
    altered = bytearray(good)
    altered[1024 + 512] ^= 1  # in the member's content
    assert bytes(read_container(altered).members["a.json"]) == b"z}"
    there, expected = (hashlib.md5(x[1024:]).hexdigest() for x in (altered, good))
    message = (
        f"damaged, or was changed after .* MD5 {there}, .* expects MD5 {expected}$"
    )
    with pytest.raises(NeffError, match=message):
        read_container(altered, validate_hash=True)


def test_package_version_1_has_a_sha256() -> None:
    header = bytearray(pack(ONE, pkg_version=1))
    header[172:204] = hashlib.sha256(ONE).digest()
    read_container(header, validate_hash=True)
    header[172] ^= 1
    with pytest.raises(NeffError, match="damaged.* SHA-256 .* expects SHA-256"):
        read_container(header, validate_hash=True)


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.neff"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(NeffError, match="is most"):
        read_container(path)
    with pytest.raises(NeffError, match="100 is most"):
        read_container(pack(ONE), limits=Limits(file_bytes=100))


def test_a_large_file_that_is_no_neff_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "zeros"
    with path.open("wb") as file:
        file.truncate(1 << 33)
    with pytest.raises(NeffError, match="header size is 0"):
        read_container(path)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_container(tmp_path / "none.neff")


@pytest.mark.parametrize("read", [read_container, read_header])
def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path, read) -> None:
    pipe = tmp_path / "pipe.neff"
    os.mkfifo(pipe)
    with pytest.raises(NeffError, match="no regular file"):
        read(pipe)
