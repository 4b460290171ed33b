"""Links between machines: what is taken of them, and what is refused."""

from __future__ import annotations

import os
import random
import socket
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from nkipy_emulator import _xla
from nkipy_emulator.errors import WorldError
from nkipy_emulator.worlds import shared_memory
from nkipy_emulator.worlds.introduction import Introduction
from nkipy_emulator.worlds.machines import Machines
from nkipy_emulator.worlds.messages import pack
from tests.support.processes import ROOT

ANNOUNCE, PUBLISH, FINISH, FAIL = 1, 2, 3, 4
SLOT = 1 << 18


def frame(kind, number=0, data=b"", first=0, size=None):
    length = len(data) if size is None else size
    return struct.pack("=IIQQQQQ", kind, length, number, 1, 1, 1, first) + data


@pytest.fixture
def seat():
    """Of rank 0, in a world with rank 1 elsewhere."""
    made = _xla.seat(0, 2)
    descriptor = shared_memory.make(_xla.world_bytes(2))
    made.form(descriptor, 0, ())
    os.close(descriptor)
    return made


def followed(seat, sent: bytes) -> None:
    ours, theirs = socket.socketpair()

    def send() -> None:
        try:
            ours.sendall(sent)
        except OSError:
            pass
        ours.close()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        seat.follow(theirs.fileno(), 1)
    finally:
        theirs.close()
        thread.join()


@pytest.mark.parametrize(
    "sent, problem",
    [
        (frame(0), "no frame"),
        (frame(ANNOUNCE, 0), "out of order"),
        (frame(ANNOUNCE, 1, first=5) + frame(ANNOUNCE, 2, first=4), "out of order"),
        (frame(ANNOUNCE, 1, size=1024), "too long"),
        (frame(FAIL, size=1 << 31), "too long"),
        (frame(PUBLISH, 0, size=SLOT + 1), "more than a slot"),
        (frame(PUBLISH, SLOT, size=1), "more than a slot"),
        (frame(PUBLISH, (1 << 64) - 1, size=2), "more than a slot"),
        (frame(FINISH, 3), "no operation"),
    ],
)
def test_what_no_link_sends_is_refused(seat, sent, problem):
    with pytest.raises(ValueError, match=problem):
        followed(seat, sent)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        frame(ANNOUNCE, 1, b"an operation")[:20],
        frame(ANNOUNCE, 1, b"an operation")[:-3],
        frame(ANNOUNCE, 1) + frame(PUBLISH, 0, b"abc", size=SLOT),
        frame(ANNOUNCE, 1) + frame(PUBLISH, SLOT - 3, b"abc") + frame(FINISH, 1),
    ],
)
def test_a_rank_is_lost_where_its_link_ends(seat, sent):
    followed(seat, sent)
    with pytest.raises(WorldError, match="rank 1 has left"):
        seat.all_gather(b"1", "a test", 60.0)


def test_it_is_said_what_a_rank_was_in_that_does_not_come(seat):
    followed(seat, frame(ANNOUNCE, 1, b"what is over") + frame(FINISH, 1))
    followed(seat, frame(ANNOUNCE, 2, b"another operation"))
    with pytest.raises(WorldError, match="in a test: rank 1 was in another operation"):
        seat.all_gather(b"1", "a test", 60.0)


def test_random_bytes_end_nothing_but_the_link(seat):
    rng = random.Random(1)
    for _ in range(300):
        kind, number = rng.randrange(1, 5), rng.choice([0, 1, 2, SLOT, 1 << 63])
        sent = frame(kind, number, rng.randbytes(rng.randrange(40)), rng.randrange(3))
        sent += rng.randbytes(rng.randrange(200))
        try:
            followed(seat, sent)
        except ValueError:
            pass


def test_a_failure_elsewhere_is_one_here(seat):
    followed(seat, frame(FAIL, data=b"a reason"))
    with pytest.raises(WorldError, match="a reason"):
        seat.all_gather(b"1", "a test", 60.0)


_READS_NOTHING = """
import fcntl, socket, struct, termios, threading, time
from nkipy_emulator import _xla
from nkipy_emulator.errors import WorldError
from nkipy_emulator.worlds import shared_memory

seat = _xla.seat(0, 2)
ours, theirs = socket.socketpair()
seat.form(shared_memory.make(_xla.world_bytes(2)), 0, ((ours.fileno(), (1,)),))

def gather():
    try:
        seat.all_gather(bytes(1 << 20), "a test", 3600.0)
    except WorldError as e:
        print(e)

thread = threading.Thread(target=gather)
thread.start()
while struct.unpack("i", fcntl.ioctl(theirs, termios.FIONREAD, bytes(4)))[0] < 1000:
    time.sleep(0.01)
seat.fail("a reason")
thread.join()
"""


@pytest.mark.slow  # another process
def test_a_world_fails_while_a_machine_reads_nothing():
    command = [sys.executable, "-c", _READS_NOTHING]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "a reason", done.stderr


def test_who_does_not_know_the_secret_is_not_heard():
    members = [
        Introduction("p", "", rank, 2, f"machine {rank}", "node", 1, "m")
        for rank in range(2)
    ]
    seat = _xla.seat(0, 2)
    machines = Machines(seat, members, members[0], "secret", "127.0.0.1")
    port = machines.listen("127.0.0.1")
    other = socket.create_server(("127.0.0.1", 0))
    machines.reach({"host": "", "port": other.getsockname()[1], "at": 1})
    machines.keep(shared_memory.make(_xla.world_bytes(2)), 0)
    told = frame(FAIL, data=b"from a stranger")
    for greeting in ({"secret": "sekret", "rank": 1}, {"secret": "secret", "rank": 0}):
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(pack(greeting) + told)
            with suppress(ConnectionResetError):  # it had not read all
                assert stranger.recv(1) == b""
    assert seat.reason is None
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(pack({"secret": "secret", "rank": 1}) + told)
        with pytest.raises(WorldError, match="from a stranger"):
            seat.all_gather(b"1", "a test", 60.0)
    machines.close()
    other.close()


@pytest.mark.slow
def test_random_collectives_of_many_ranks(tmp_path):
    sources = ROOT / "emulator" / "src" / "cpp"
    spec = find_spec("jaxlib")
    assert spec is not None and spec.submodule_search_locations
    headers = Path(spec.submodule_search_locations[0]) / "include"
    names = ("world_memory", "world_links", "collective_exchange")
    compiled = [sources / f"{name}.cpp" for name in (*names, "collective_reduction")]
    program = tmp_path / "world_stress"
    stress = Path(__file__).with_name("world_stress.cpp")
    options = ["-std=c++17", "-O1", "-I", sources, "-isystem", headers, "-lpthread"]
    subprocess.run(["c++", stress, *compiled, "-o", program, *options], check=True)
    for ranks, machines in ((2, 1), (3, 1), (8, 1), (2, 2), (8, 3)):
        for how in ((), ("processes",)):
            given = [program, str(ranks), str(machines), "1", *how]
            subprocess.run(given, check=True, timeout=120)
