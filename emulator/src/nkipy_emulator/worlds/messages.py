"""Messages between the ranks of a world: JSON objects behind their length."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("!I")
#: Bytes: what names a thousand ranks fits.
MAX_MESSAGE = 1 << 20
#: What one rank says of itself.
MAX_INTRODUCTION = 1 << 12

#: The version of these messages: ranks with another one are refused.
VERSION = 2


class MessageError(ValueError):
    """What comes is no message of a world."""


def tune(connection: socket.socket) -> None:
    """Send at once, and find out soon that a machine is not there any more."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)  # ms


def pack(message: dict[str, Any]) -> bytes:
    """The bytes that are sent."""
    body = json.dumps(message).encode()
    return _LENGTH.pack(len(body)) + body


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send one message. Raises OSError."""
    connection.sendall(pack(message))


def receive(connection: socket.socket) -> dict[str, Any] | None:
    """The next message; None at the end. Raises MessageError, OSError."""
    reader = Reader(MAX_MESSAGE)
    while True:
        wanted = reader.wanted
        data = connection.recv(wanted)
        if not data:
            return None
        message = reader.feed(data)
        if message is not None:
            return message


class Reader:
    """Puts a message together from what arrives.

    Args:
        limit: the longest message, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = b""

    @property
    def wanted(self) -> int:
        """How many bytes complete what is under way: the length, or the message."""
        return self._size() - len(self._data)

    def _size(self) -> int:
        if len(self._data) < _LENGTH.size:
            return _LENGTH.size
        (length,) = _LENGTH.unpack_from(self._data)
        if length > self._limit:
            raise MessageError(
                f"a message of {length} bytes; {self._limit} are allowed"
            )
        return _LENGTH.size + length

    def feed(self, data: bytes) -> dict[str, Any] | None:
        """Take at most `wanted` bytes; a message, if they complete one."""
        self._data += data
        if len(self._data) <= _LENGTH.size or self.wanted > 0:
            return None
        body, self._data = self._data[_LENGTH.size :], b""
        try:
            message = json.loads(body)
        except (ValueError, RecursionError) as e:
            raise MessageError(f"no JSON: {e}") from None
        if not isinstance(message, dict):
            raise MessageError("no object")
        return message
