"""The memory of a machine's ranks: one of them makes it and hands it to the others."""

from __future__ import annotations

import os
import secrets
import socket
import struct

_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group


class MemoryGiver:
    """Hands a descriptor to processes of this user that know the name."""

    def __init__(self) -> None:
        self.name = f"nkipy-world-{secrets.token_hex(16)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind("\0" + self.name)
        self._socket.listen(128)

    def give(self, descriptor: int, times: int, seconds: float) -> None:
        """Answer as many processes. Raises OSError."""
        self._socket.settimeout(seconds)
        while times > 0:
            taker, _ = self._socket.accept()
            with taker:
                if _user_of(taker) == os.getuid():
                    socket.send_fds(taker, [b"m"], [descriptor])
                    times -= 1

    def close(self) -> None:
        """Answer nobody any more."""
        self._socket.close()


def take(name: str, seconds: float) -> int:
    """The descriptor that a MemoryGiver of this user hands out. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as giver:
        giver.settimeout(seconds)
        giver.connect("\0" + name)
        if _user_of(giver) != os.getuid():
            raise PermissionError(f"{name} is another user's")
        _, descriptors, _, _ = socket.recv_fds(giver, 1, 1)
    if not descriptors:
        raise ConnectionError(f"{name} has handed out no memory")
    return descriptors[0]


def make(size: int) -> int:
    """A descriptor of new memory of `size` bytes, which takes room as it is written.

    It is no file of ``/dev/shm``, which containers keep small.
    """
    descriptor = os.memfd_create("nkipy-world", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, size)
    return descriptor


def _user_of(peer: socket.socket) -> int:
    data = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(data)[1]
