"""The engine's process, spoken to over its socket."""

from __future__ import annotations

import json
import mmap
import os
import socket
import struct
import threading

import numpy as np
import pytest

from nkipy_emulator.device.server import Server
from tests.support.nrt_client import make_neff

LOAD, EXECUTE, UNLOAD, CHANNEL = 1, 2, 3, 4
EXTENT = 1 << 20
X = np.arange(8, dtype=np.float32)


class Client:
    """Sends requests to a server in a thread of this process."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, EXTENT)
        self.bytes = np.frombuffer(self.memory, np.uint8)
        self.channel, theirs = socket.socketpair()
        server = Server(self.bytes.ctypes.data, EXTENT)
        self.thread = threading.Thread(target=server.serve, args=(theirs,))
        self.thread.start()

    def send(self, kind: int, program: int, payload: bytes, *fds: int, over=None):
        head = struct.pack("=IIQ", kind, len(payload), program)
        channel = over or self.channel
        socket.send_fds(channel, [head + payload], fds)
        if kind != CHANNEL:
            return self.receive(channel)

    def receive(self, channel: socket.socket) -> tuple[int, int, str]:
        def exactly(n: int) -> bytes:
            return channel.recv(n, socket.MSG_WAITALL) if n else b""

        status, size, program = struct.unpack("=iIQ", exactly(16))
        return status, program, exactly(size).decode()

    def load(self, neff: bytes, over=None, **options):
        file = os.memfd_create("neff")
        os.write(file, neff)
        payload = json.dumps(options).encode()
        reply = self.send(LOAD, len(neff), payload, file, over=over)
        os.close(file)
        return reply

    def execute(self, program: int, *offsets: int, over=None):
        payload = struct.pack(f"={len(offsets)}Q", *offsets)
        return self.send(EXECUTE, program, payload, over=over)

    def floats(self, offset: int) -> np.ndarray:
        return self.bytes[offset : offset + X.nbytes].view(np.float32)


@pytest.fixture
def client():
    client = Client()
    yield client
    client.channel.close()
    client.thread.join(10)
    assert not client.thread.is_alive()  # the end of the socket ends it


def double(b, x):
    return b.add(x, x)


def test_load_execute_unload(client):
    status, program, text = client.load(make_neff(double, X), target="trn2")
    assert status == 0
    assert [t["name"] for t in json.loads(text)["inputs"]] == ["x0"]
    client.floats(64)[...] = X
    for _ in range(2):
        assert client.execute(program, 64, 1024) == (0, 0, "")
        np.testing.assert_array_equal(client.floats(1024), X * 2)
    assert client.send(UNLOAD, program, b"")[0] == 0
    status, _, text = client.execute(program, 64, 1024)
    assert status == 1004 and "KeyError" in text


def test_failures_are_replies_and_the_server_goes_on(client):
    status, _, text = client.load(b"x" * 5000)
    assert status == 2 and text.startswith("NeffError")
    status, _, text = client.load(make_neff(double, X), target="trn3")
    assert status == 10 and "compiled for trn2" in text
    status, program, _ = client.load(make_neff(double, X))
    assert status == 0
    for offsets in ((0,), (0, 0, 0), (0, EXTENT), (1 << 63, 0)):
        status, _, text = client.execute(program, *offsets)
        assert status == 1004 and "ValueError" in text
    assert client.execute(program, 0, 64)[0] == 0


def test_further_sockets_are_served_at_the_same_time(client):
    ours, theirs = socket.socketpair()
    client.send(CHANNEL, 0, b"", theirs.fileno())
    theirs.close()
    _, program, _ = client.load(make_neff(double, X), over=ours)
    client.floats(0)[...] = X
    assert client.execute(program, 0, 64)[0] == 0
    assert client.execute(program, 0, 128, over=ours)[0] == 0
    np.testing.assert_array_equal(client.floats(128), X * 2)
    ours.close()


def test_a_request_that_is_cut_off_ends_the_socket(client):
    client.channel.send(b"abc")
    client.channel.shutdown(socket.SHUT_WR)
    client.thread.join(10)
    assert not client.thread.is_alive()
