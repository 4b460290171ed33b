"""A rank's membership in a world: joining, what becomes of the others, leaving."""

from __future__ import annotations

import atexit
import logging
import os
import select
import socket
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from nkipy.launcher_variables import (
    ADDRESS,
    LAUNCHER,
    NO_LAUNCHER,
    job_identity,
    variables_read,
)
from nkipy_emulator import _xla
from nkipy_emulator.errors import WorldError
from nkipy_emulator.worlds import refusals, shared_memory
from nkipy_emulator.worlds.introduction import Introduction, machine
from nkipy_emulator.worlds.machines import Machines
from nkipy_emulator.worlds.messages import VERSION, MessageError, receive, send, tune
from nkipy_emulator.worlds.root import Root, share_root

if TYPE_CHECKING:
    from nkipy_emulator._xla import Seat

logger = logging.getLogger(__name__)

#: Who waits no longer than this for the others to come says nothing.
_TELL_AFTER_SECONDS = 8.0
#: Between two attempts to reach rank 0, which may not have started yet.
_RETRY_SECONDS = 0.05
#: How often one that waits looks whether rank 0 has said that it cannot come.
_LOOK_SECONDS = 0.2
#: How long one that hears for its machine does so when it leaves.
_LINGER_SECONDS = 1.0
#: For what two processes of one machine, both there, do together.
_HANDSHAKE_SECONDS = 60.0
#: How often a rank looks whether another has come before it sleeps; about 50 us.
_SPINS = 2000


class Membership:
    """One rank of one world.

    Attributes:
        seat: what programs and barriers go by.
    """

    def __init__(
        self, address: tuple[str, int], purpose: str, rank: int, ranks: int
    ) -> None:
        self.seat: Seat = _xla.seat(rank, ranks)
        self.address = address
        self._is_left = False
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._giver = shared_memory.MemoryGiver()
        self._who = Introduction(
            *(purpose, job_identity(os.environ), rank, ranks, machine()),
            *(socket.gethostname(), os.getpid(), self._giver.name),
        )
        self._members: list[Introduction] = []
        self._machines: Machines | None = None
        self._began = time.time()
        self._expected = "the other ranks"
        self._is_told = False
        self._thread = threading.Thread(
            target=self._run, name=f"nkipy-world-rank-{rank}", daemon=True
        )
        self._thread.start()

    def leave(self) -> None:
        """Leave, which the others are told. Programs of this world run no more."""
        with self._lock:
            if self._is_left:
                return
            self._is_left = True
            connection = self._connection
        has_failed = self.seat.reason is not None
        self.seat.leave(f"rank {self._who.rank} has left: its runtime was closed")
        if self._machines is not None:
            self._machines.close(0 if has_failed else _LINGER_SECONDS)
        if connection is not None:
            try:
                send(connection, {"leaving": True})
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def forget(self) -> None:
        """In a forked child: have no part in it. Nothing is sent."""
        self._giver.close()
        if self._machines is not None:
            self._machines.forget()
        if self._connection is not None:
            self._connection.close()

    # -- the thread ------------------------------------------------------------------
    def _run(self) -> None:
        try:
            self._join()
        except (OSError, MessageError, WorldError) as e:
            self.seat.fail(f"{self._who} cannot take part: {e}")
        finally:
            self._giver.close()
            if self._machines is not None and not self._is_left:
                self._machines.close()
            with self._lock:
                connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _join(self) -> None:
        while not self._is_left:
            self._ask_for_root()
            self._tell_that_it_waits()
            connection = self._connect()
            if connection is None:
                continue
            with self._lock:
                self._connection = connection
            send(connection, {"version": VERSION, "rank": self._who.as_message()})
            if self._attend(connection):
                return
            with self._lock:
                self._connection = None
            connection.close()
            time.sleep(_RETRY_SECONDS)

    def _ask_for_root(self) -> None:
        """Raise WorldError if rank 0, of this machine, has said that it cannot come."""
        said = refusals.find_word(_world(self.address, self._who.job), self._began)
        if said is not None and self._who.rank != 0:
            raise WorldError(said)

    def _expect(self, whom: str) -> None:
        self._expected = whom
        self.seat.expect(whom)

    def _tell_that_it_waits(self) -> None:
        """Say once for whom, and why this process takes itself for a rank."""
        if self._is_told or time.time() - self._began < _TELL_AFTER_SECONDS:
            return
        self._is_told = True
        host, port = self.address
        given = variables_read(os.environ)
        told = (
            f" It is a rank by {given}: if they are left over from another job, unset "
            f"them, or set {LAUNCHER}={NO_LAUNCHER}."
        )
        logger.warning(
            "rank %d of %d waits at %s:%d for %s.%s",
            *(self._who.rank, self._who.ranks, host, port, self._expected),
            told if given else "",
        )

    def _connect(self) -> socket.socket | None:
        host, port = self.address
        try:
            connection = socket.create_connection(self.address, timeout=5)
        except socket.gaierror as e:
            raise WorldError(
                f"the machine of rank 0 cannot be found by its name, {host!r} ({e}): "
                f"{ADDRESS}, or NEURON_RT_ROOT_COMM_ID where it is set, has to be a "
                "name or an address that this machine knows"
            ) from None
        except (ConnectionError, TimeoutError) as e:
            self._expect(f"rank 0, which does not answer at {host}:{port} ({e})")
            time.sleep(_RETRY_SECONDS)
            return None
        connection.settimeout(None)
        tune(connection)
        return connection

    def _attend(self, connection: socket.socket) -> bool:
        """Do what is said until the end; False if it is worth trying again."""
        while True:
            try:
                while not self._members and not _is_readable(connection):
                    self._ask_for_root()
                    self._tell_that_it_waits()
                message = receive(connection)
            except ConnectionError:
                message = None
            if self._is_left:
                return True  # what becomes of the world is for those who are in it
            if message is None:
                return self._end()
            if "taken" in message:
                self._expect(
                    f"its own place, which {message['taken']} has: two jobs may have "
                    "the same NEURON_RT_ROOT_COMM_ID, or two processes the same rank"
                )
                return False
            if "missing" in message:
                self._expect(_missing(message))
            elif "ranks" in message:
                ranks = [Introduction.from_message(m) for m in message["ranks"]]
                self._form(ranks, str(message.get("secret", "")), connection)
            elif "port" in message and self._machines is not None:
                self._machines.reach(message)
            elif "ended" in message:
                self._note_end(Introduction.from_message(message["ended"]))
            elif "gone" in message:
                self._note_leaving(Introduction.from_message(message["gone"]))
            elif "closed" in message:
                for root in self._members[:1]:
                    self._note_leaving(root)
                return bool(self._members)

    def _end(self) -> bool:
        if not self._members:
            return False  # rank 0 has ended before the world was complete
        self._note_end(self._members[0])
        return True

    def _note_leaving(self, who: Introduction) -> None:
        # Another machine's tells it by its link, behind what it has done before.
        if who.machine == self._who.machine:
            self.seat.lose(who.rank)

    def _note_end(self, who: Introduction) -> None:
        if who.machine == self._who.machine:
            self.seat.fail(f"{who} has ended")
        else:
            self.seat.end(who.rank, f"{who} has ended")

    def _form(
        self, members: list[Introduction], secret: str, connection: socket.socket
    ) -> None:
        here = [m for m in members if m.machine == self._who.machine]
        self._members = members
        if len(here) < len(members):
            self._machines = Machines(
                self.seat, members, self._who, secret, self.address[0]
            )
        size = _xla.world_bytes(self._who.ranks)
        if here[0].rank == self._who.rank:
            if self._machines is not None:
                port = self._machines.listen(connection.getsockname()[0])
                send(connection, {"port": port})
            descriptor = shared_memory.make(size)
            try:
                self._take_seat(descriptor, len(here))
                self._giver.give(descriptor, len(here) - 1, _HANDSHAKE_SECONDS)
            finally:
                os.close(descriptor)
            return
        descriptor = shared_memory.take(here[0].memory, _HANDSHAKE_SECONDS)
        try:
            self._take_seat(descriptor, len(here))
        finally:
            os.close(descriptor)

    def _take_seat(self, descriptor: int, here: int) -> None:
        processors = len(os.sched_getaffinity(0))
        spins = _SPINS if here <= processors else 0
        if self._machines is None:
            self.seat.form(descriptor, spins, ())
        else:
            self._machines.keep(os.dup(descriptor), spins)


def _is_readable(connection: socket.socket) -> bool:
    """Whether something has come after a while, be it the end."""
    waiting = select.poll()
    waiting.register(connection, select.POLLIN)
    return bool(waiting.poll(_LOOK_SECONDS * 1000))


def _world(address: tuple[str, int], job: str) -> str:
    return f"{address[0]}:{address[1]} {job}"


def _missing(message: dict[str, Any]) -> str:
    if message["missing"] and message["count"] == 1:
        return f"rank {message['missing'][0]}, which has not come"
    ranks = ", ".join(map(str, message["missing"]))
    more = message["count"] - len(message["missing"])
    return f"ranks {ranks}{f' and {more} more' if more else ''} that have not come"


class Worlds:
    """The worlds that ranks of this process are in. Safe to use from many threads.

    Args:
        purpose: worlds of another purpose are others, with the same address too.
    """

    def __init__(self, purpose: str) -> None:
        self._purpose = purpose
        self._lock = threading.Lock()
        self._memberships: dict[tuple[str, int, int, int], Membership] = {}
        self._roots: dict[tuple[str, int], Root] = {}
        _all_worlds.add(self)

    def join(self, address: str, rank: int, ranks: int) -> Seat:
        """The seat of a rank of this process, which it has until :meth:`leave`.

        This returns at once; who uses the seat waits until all ranks have come.

        Args:
            address: ``host:port`` where rank 0 listens.
            rank: which rank.
            ranks: how many there are.

        Raises:
            WorldError: `address` is none, or rank 0 cannot listen there.
            ValueError: there is no such rank.
        """
        place = parse_address(address)
        with self._lock:
            key = *place, rank, ranks
            found = self._memberships.get(key)
            if found is None:
                if rank == 0 and place not in self._roots:
                    self._roots[place] = _listen(place)
                found = Membership(place, self._purpose, rank, ranks)
                self._memberships[key] = found
            return found.seat

    def has_members(self) -> bool:
        """Whether a rank of this process is in one of them."""
        with self._lock:
            return bool(self._memberships)

    def leave(self) -> None:
        """Leave all worlds. Programs of theirs run no more; others can be joined."""
        with self._lock:
            for membership in self._memberships.values():
                membership.leave()
            for root in self._roots.values():
                root.give_up()
            self._memberships.clear()
            self._roots.clear()

    def forget(self) -> None:
        """In a forked child: have no part in them, and keep no connection open."""
        self._lock = threading.Lock()
        for membership in self._memberships.values():
            membership.forget()
        self._memberships.clear()
        self._roots.clear()


def _listen(place: tuple[str, int]) -> Root:
    """Be where the others look for rank 0, or leave word why not."""
    world = _world(place, job_identity(os.environ))
    try:
        root = share_root(place)
    except WorldError as e:
        refusals.leave_word(world, str(e))
        raise
    refusals.take_back(world)
    return root


_all_worlds: weakref.WeakSet[Worlds] = weakref.WeakSet()


def _forget_after_fork() -> None:
    for worlds in _all_worlds:
        worlds.forget()


os.register_at_fork(after_in_child=_forget_after_fork)


def _leave_at_the_end() -> None:
    """Else the others would take this process's end for an accident."""
    for worlds in _all_worlds:
        worlds.leave()


atexit.register(_leave_at_the_end)


def parse_address(address: str) -> tuple[str, int]:
    """Host and port. Raises WorldError."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0
    if not host or not 0 < number < 1 << 16:
        raise WorldError(f"NEURON_RT_ROOT_COMM_ID has to be host:port, not {address!r}")
    return host, number
