"""The tar reader: what it takes, what it refuses, and that it stays small."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
import zlib

import pytest

from neff import Limits, NeffError
from neff.tar import read_members
from tests.support.neffs import tar, tar_member, tar_of, zipped

LIMITS = Limits()


def _read(payload: bytes, limits: Limits = LIMITS) -> dict[str, bytes]:
    return {name: bytes(m) for name, m in read_members(payload, limits).items()}


@pytest.mark.parametrize(
    "form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
)
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_reads_what_tarfile_writes(form: int, mode: str) -> None:
    members = {
        "neff.json": b"{}",
        "sg00/def.json": b"x" * 513,
        "d/" * 60 + "long.npy": b"long",
        "empty": b"",
        "big": bytes(range(256)) * 4096,
    }
    if form == tarfile.PAX_FORMAT:
        members["naïve.json"] = b"1"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        directory = tarfile.TarInfo("./sg00")
        directory.type = tarfile.DIRTYPE
        archive.addfile(directory)
        for name, content in members.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            info.mtime = 1.5  # type: ignore[assignment]  # a pax record of its own
            archive.addfile(info, io.BytesIO(content))
    assert _read(buffer.getvalue()) == members


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (b"1", "a hard link"),
        (b"2", "a symbolic link"),
        (b"3", "a character device"),
        (b"4", "a block device"),
        (b"6", "a fifo"),
        (b"S", "a sparse file"),
        (b"7", "unknown type b'7'"),
        (b"K", "unknown type b'K'"),
    ],
)
def test_other_than_plain_files_are_refused(kind: bytes, text: str) -> None:
    payload = tar(tar_member("m", kind=kind, linkname=b"/etc/passwd"))
    with pytest.raises(NeffError, match=text):
        _read(payload)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("/etc/passwd", "absolute path"),
        ("../x", "parent directory"),
        ("a/../../x", "parent directory"),
        ("a/..", "parent directory"),
        ("a\\b", "characters"),
        ("a\nb", "characters"),
        ("\x1b[2J", "characters"),
        (b"\xff\xfe", "not UTF-8"),
        ("", "no name"),
        ("./", "no name"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(name: str | bytes, text: str) -> None:
    with pytest.raises(NeffError, match=text):
        _read(tar(tar_member(name, b"x")))


@pytest.mark.parametrize("kind", [b"L", b"x"])
def test_long_names_are_checked_too(kind: bytes) -> None:
    value = b"../../etc/passwd"
    record = b"path=%s\n" % value
    content = b"%d %s" % (len(record) + 3, record) if kind == b"x" else value + b"\0"
    payload = tar(tar_member("h", content, kind), tar_member("m", b"x"))
    with pytest.raises(NeffError, match="parent directory"):
        _read(payload)


@pytest.mark.parametrize(
    "record",
    [b"9 size=1\n", b"nonsense", b"99 path=a\n", b"0 path=a\n", b"-8 path=a\n"],
)
def test_extended_headers_that_mislead_are_refused(record: bytes) -> None:
    payload = tar(tar_member("h", record, b"x"), tar_member("m", b"x"))
    with pytest.raises(NeffError, match="extended header"):
        _read(payload)


def test_an_extended_header_may_not_be_large() -> None:
    payload = tar(tar_member("h", bytes(1 << 16), b"L"), tar_member("m"))
    with pytest.raises(NeffError, match="extended header of 65536 bytes"):
        _read(payload)


def test_two_of_one_name_are_refused() -> None:
    payload = tar(tar_member("a/b", b"1"), tar_member("./a//b", b"2"))
    with pytest.raises(NeffError, match="two members are called 'a/b'"):
        _read(payload)


@pytest.mark.parametrize("wrap", [bytes, zipped])
@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"", "truncated"),
        (bytes(511), "truncated"),
        (tar_member("a", b"abc")[:-1], "padding of member 'a' is truncated"),
        (tar_member("a", b"abc")[:514], "member 'a' is truncated: 3 bytes"),
        (tar_member("a", b"abc"), "header is truncated"),
        (tar_member("a", b"abc", size=1 << 20) + bytes(1024), "truncated"),
        (tar(tar_member("a", checksum=1)), "checksum 1, not"),
        (tar(tar_member("a")[:124] + b"9" * 12 + tar_member("a")[136:]), "checksum"),
        (tar(tar_member("a"))[:-512] + b"x", "data follows the end"),
        (tar(tar_member("d", b"x", b"5")), "directory 'd' has 1 bytes"),
        (b"no tar at all" * 100, "checksum"),
    ],
)
def test_malformed_tars(payload: bytes, text: str, wrap: type) -> None:
    with pytest.raises(NeffError, match=text):
        _read(wrap(payload))


def test_sizes_that_are_no_octal_number() -> None:
    block = bytearray(tar_member("a"))
    block[124:136] = b"\x80" + bytes(10) + b"\x01"  # GNU's binary form
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 256 + sum(block[156:512]))
    with pytest.raises(NeffError, match="no octal number"):
        _read(tar(bytes(block)))


def test_truncated_and_trailing_gzip() -> None:
    good = zipped(tar_of({"a": b"abc" * 1000}))
    with pytest.raises(NeffError, match="truncated"):
        _read(good[:-1])
    with pytest.raises(NeffError, match="truncated"):
        _read(good[:30])
    with pytest.raises(NeffError, match="4 bytes follow the gzip stream"):
        _read(good + b"more")
    damaged = bytearray(good)
    damaged[-5] ^= 1  # of the checksum
    with pytest.raises(NeffError, match="no valid gzip"):
        _read(bytes(damaged))


def test_limits() -> None:
    payload = tar_of({str(i): b"x" * 100 for i in range(10)})
    assert len(_read(payload, Limits(members=10))) == 10
    with pytest.raises(NeffError, match="more than 9 members"):
        _read(payload, Limits(members=9))
    with pytest.raises(NeffError, match="4096, the most|4096 bytes, the most"):
        _read(payload, Limits(total_bytes=4096))
    with pytest.raises(NeffError, match="4096 that"):
        _read(zipped(payload), Limits(total_bytes=4096))
    with pytest.raises(NeffError, match="3 bytes is most"):
        _read(tar_of({"four": b""}), Limits(name_bytes=3))


def _bomb(size: int) -> bytes:
    """`size` zeros as the content of a member, in a thousandth of the bytes."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = tar_member("bomb", size=size)
    parts = [squeeze.compress(head)]
    chunk = bytes(1 << 20)
    parts += [squeeze.compress(chunk) for _ in range(size // len(chunk))]
    return b"".join([*parts, squeeze.compress(bytes(1024)), squeeze.flush()])


def test_a_bomb_is_refused_before_it_takes_memory() -> None:
    payload = _bomb(64 << 20)
    limits = Limits(ratio_free_bytes=1 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(NeffError, match="compressed bytes may become"):
            _read(payload, limits)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_a_bomb_after_the_end_is_refused() -> None:
    payload = gzip.compress(tar_of({"a": b"x"}) + bytes(64 << 20), 9)
    with pytest.raises(NeffError, match="padding goes beyond"):
        _read(payload, Limits(ratio_free_bytes=1 << 20))


def test_an_announced_size_takes_no_memory() -> None:
    payload = zipped(tar(tar_member("a", b"abc", size=1 << 27)))
    tracemalloc.start()
    try:
        with pytest.raises(NeffError, match="truncated"):
            _read(payload)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [1, 511, 1 << 19])
def test_zeros_that_follow_the_gzip_stream_are_padding(size: int) -> None:
    """As in the vendor's files. Anything else is refused wherever it stands."""
    good = zipped(tar_of({"a": b"abc"}))
    assert _read(good + bytes(size)) == {"a": b"abc"}
    with pytest.raises(NeffError, match=f"{size + 1} bytes follow the gzip stream"):
        _read(good + bytes(size) + b"x")
    with pytest.raises(NeffError, match=f"{size + 1} bytes follow the gzip stream"):
        _read(good + b"x" + bytes(size))
    with pytest.raises(NeffError, match="truncated"):
        _read(good[:-9] + bytes(4))
