"""The engine in a process of its own, for a libnrt in a process without Python.

libnrt starts it, with a socket and the file that holds all tensors as descriptors; the
messages are those of ``emulator/src/libnrt/engine_channel.h``. It ends with the process
that started it, however that ends.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from nkipy_emulator.device.service import LoadedProgram, Printer
    from nkipy_emulator.device.status import Phase

_REQUEST = struct.Struct("=IIQ")  # kind, size of the payload, program
_REPLY = struct.Struct("=iIQ")  # status, size of the text, program
_PRINTED = -1  # the status of what comes before a reply, see engine_channel.h
_MAX_PRINTED = 1 << 28  # bytes: libnrt keeps no more
_LOAD, _EXECUTE, _UNLOAD, _CHANNEL, _ESTIMATE, _ALL_GATHER = 1, 2, 3, 4, 5, 6
_MAP_NORESERVE = 0x4000
#: In which a process that was killed has ended, after its sockets.
_END_SECONDS = 0.1


class _Request(NamedTuple):
    kind: int
    program: int
    payload: bytes
    descriptor: int  # -1: none


class Server:
    """Serves the requests of one libnrt.

    Args:
        base: address of the memory that all tensors lie in.
        extent: how many bytes it has.
    """

    def __init__(self, base: int, extent: int) -> None:
        self._base = base
        self._extent = extent
        self._programs: dict[int, LoadedProgram] = {}
        self._last_program = 0
        self._lock = threading.Lock()

    def serve(self, channel: socket.socket) -> None:
        """Answer the requests of one socket until it is closed."""
        with channel:
            while (request := _receive(channel)) is not None:
                if request.kind == _CHANNEL:
                    self._serve_another(request.descriptor)
                else:
                    _reply(channel, *self._answer(request, channel))

    def _serve_another(self, descriptor: int) -> None:
        channel = socket.socket(fileno=descriptor)
        threading.Thread(target=self.serve, args=(channel,), daemon=True).start()

    def _answer(
        self, request: _Request, channel: socket.socket
    ) -> tuple[int, int, str | bytes]:
        """Status, program and text of the reply. Never raises: nobody would know."""
        from nkipy_emulator.device.status import describe_error

        try:
            if request.kind == _LOAD:
                return 0, *self._load(request)
            if request.kind == _ESTIMATE:
                return 0, 0, self._programs[request.program].estimate()
            if request.kind == _ALL_GATHER:
                return 0, 0, _all_gather(request)
            if request.kind == _EXECUTE:
                self._execute(request, channel)
            else:
                with self._lock:
                    self._programs.pop(request.program, None)
            return 0, 0, ""
        except BaseException as e:
            phase: Phase = "load" if request.kind == _LOAD else "execute"
            status, text = describe_error(e, phase)
            return status, 0, text

    def _load(self, request: _Request) -> tuple[int, str]:
        from nkipy_emulator.device.options import LoadOptions
        from nkipy_emulator.device.service import load

        options = LoadOptions.from_json(request.payload.decode())
        with os.fdopen(request.descriptor, "rb") as file:
            with mmap.mmap(file.fileno(), request.program, prot=mmap.PROT_READ) as neff:
                program = load(bytes(neff), options)
        with self._lock:
            self._last_program += 1
            self._programs[self._last_program] = program
            return self._last_program, program.description

    def _execute(self, request: _Request, channel: socket.socket) -> None:
        program = self._programs[request.program]
        offsets = memoryview(request.payload).cast("Q").tolist()
        if any(offset >= self._extent for offset in offsets):
            raise ValueError(f"an offset outside of {self._extent} bytes of memory")
        addresses = [self._base + offset for offset in offsets]
        count = program.input_count
        printer = _printer(channel)
        program.execute(addresses[:count], addresses[count:], printer)


def _all_gather(request: _Request) -> bytes:
    from nkipy_emulator.device.ranks import all_gather

    meeting, data = request.payload[: request.program], request.payload
    return all_gather(meeting.decode(), data[request.program :])


def _receive(channel: socket.socket) -> _Request | None:
    """The next request; None at the end."""
    head, descriptors, _, _ = socket.recv_fds(channel, _REQUEST.size, 1)
    head += _receive_bytes(channel, _REQUEST.size - len(head)) if head else b""
    if len(head) < _REQUEST.size:
        return None
    kind, size, program = _REQUEST.unpack(head)
    payload = _receive_bytes(channel, size)
    if len(payload) < size:
        return None
    return _Request(kind, program, payload, descriptors[0] if descriptors else -1)


def _receive_bytes(channel: socket.socket, size: int) -> bytes:
    """`size` bytes, or fewer at the end."""
    parts = []
    while size > 0:
        part = channel.recv(size)
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _printer(channel: socket.socket) -> Printer:
    """What sends tensors that are printed, before the reply."""
    lock = threading.Lock()  # which others wait for while one sends

    def send(
        rank: int, prefix: str, dtype: str, shape: tuple[int, ...], data: bytes
    ) -> None:
        if len(data) <= _MAX_PRINTED:
            head = struct.pack(f"={1 + len(shape)}Q", len(shape), *shape)
            text = f"{prefix}\0{dtype}\0".encode(errors="replace")
            with lock:
                _send(channel, _PRINTED, rank, head + text + data)

    return send


def _reply(
    channel: socket.socket, status: int, program: int, text: str | bytes
) -> None:
    data = text.encode(errors="replace") if isinstance(text, str) else text
    _send(channel, status, program, data)


def _send(channel: socket.socket, status: int, program: int, data: bytes) -> None:
    channel.sendall(_REPLY.pack(status, len(data), program) + data)


def _end_with(parent: int) -> None:
    """End this process when process `parent` ends.

    The sockets do not tell, as others forked from the parent may hold them too.
    """
    try:
        descriptor = os.pidfd_open(parent)
    except OSError:
        os._exit(0)
    if os.getppid() != parent:  # it had ended before, and its number was given away
        os._exit(0)
    select.select([descriptor], [], [])
    os._exit(0)


def _leave_worlds() -> None:
    """Tell other ranks that this one has left, unless its process has been ended.

    Who closes its runtime waits for this process. Of one that was killed, the socket is
    closed first; :func:`_end_with` notices that a moment later, and others are told by
    the end of this process.
    """
    ranks = sys.modules.get("nkipy_emulator.device.ranks")
    if ranks is not None and ranks.WORLDS.has_members():
        time.sleep(_END_SECONDS)
        ranks.WORLDS.leave()


def _map(descriptor: int, extent: int) -> int:
    """The address of the shared memory, which stays mapped."""
    flags = mmap.MAP_SHARED | _MAP_NORESERVE
    memory = mmap.mmap(descriptor, extent, flags=flags)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    _mapped.append(memory)
    return address


_mapped: list[mmap.mmap] = []


def main(argv: Sequence[str], end: Callable[[int], None] = os._exit) -> None:
    """Serve; `argv` has the socket's and the memory's descriptor, the memory's extent
    and the parent's process number."""
    control, memory, extent, parent = map(int, argv)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    server = Server(_map(memory, extent), extent)
    server.serve(socket.socket(fileno=control))
    _leave_worlds()
    end(0)  # at once: other threads may be executing


if __name__ == "__main__":
    main(sys.argv[1:])
