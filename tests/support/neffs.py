"""Makes NEFFs: good ones, and tars that no honest tool writes."""

from __future__ import annotations

import gzip
import hashlib
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from nkipy.core.trace import trace_function
from nkipy.hlo.ir import HLOModule


def small_module() -> HLOModule:
    """Two inputs, one of them written into, and two outputs."""

    def kernel(a: Any, b: Any) -> Any:
        a[...] = a + 1
        return a @ b

    arguments = (np.zeros((2, 3), np.float32), np.zeros((3, 4), np.float32))
    return trace_function(kernel, arguments, {}).module


def pack(payload: bytes, **fields: Any) -> bytes:
    """A header by the documented offsets, written here once more, and the payload."""
    header = bytearray(1024)
    values = {
        "pkg_version": 2,
        "header_size": 1024,
        "data_size": len(payload),
        "major": 2,
        "feature_bits": 1 << 62,
        "lnc_size": 1,
        **fields,
    }
    offsets = {
        **{"pkg_version": (0, "<Q"), "header_size": (8, "<Q")},
        **{"data_size": (16, "<Q"), "major": (24, "<Q"), "minor": (32, "<Q")},
        **{"num_tpb": (168, "<I"), "requested_tpb_count": (476, "<I")},
        **{"feature_bits": (544, "<Q"), "lnc_size": (552, "<I")},
    }
    for name, value in values.items():
        offset, form = offsets[name]
        struct.pack_into(form, header, offset, value)
    digest = hashlib.md5(payload).digest()
    struct.pack_into("<4I", header, 172, *struct.unpack(">4I", digest))
    return bytes(header) + payload


def tar_member(
    name: str | bytes,
    content: bytes = b"",
    kind: bytes = b"0",
    *,
    size: int | None = None,
    linkname: bytes = b"",
    checksum: int | None = None,
) -> bytes:
    """One member, header and padded content, of whatever `kind`."""
    block = bytearray(512)
    raw = name.encode() if isinstance(name, str) else name
    block[: len(raw[:100])] = raw[:100]
    block[100:108] = b"0000644\0"
    block[108:124] = b"0000000\0" * 2
    block[124:136] = b"%011o\0" % (len(content) if size is None else size)
    block[136:148] = b"%011o\0" % 0
    block[156:157] = kind
    block[157 : 157 + len(linkname)] = linkname
    block[257:265] = b"ustar\x0000"
    total = sum(block) + 8 * ord(" ") if checksum is None else checksum
    block[148:156] = b"%06o\0 " % total
    return bytes(block) + content + bytes(-len(content) % 512)


def tar(*members: bytes) -> bytes:
    """Members and the end of the archive."""
    return b"".join(members) + bytes(1024)


def tar_of(members: Mapping[str, bytes]) -> bytes:
    return tar(*(tar_member(name, content) for name, content in members.items()))


def zipped(raw: bytes) -> bytes:
    return gzip.compress(raw, mtime=0)
