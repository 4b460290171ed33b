"""The other machines of a world: each rank tells one rank of each what it does.

That one writes it into the memory of its machine; see ``world_links.h``.
"""

from __future__ import annotations

import hmac
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from nkipy_emulator.worlds.introduction import Introduction
from nkipy_emulator.worlds.messages import (
    VERSION,
    MessageError,
    receive,
    send,
    tune,
)

if TYPE_CHECKING:
    from nkipy_emulator._xla import Seat

#: For what one that connects has to say.
_GREETING_SECONDS = 10.0
_CONNECT_SECONDS = 30.0


class Machines:
    """What one rank has to do with those of other machines.

    Args:
        seat: the rank's. It forms when all machines can be reached.
        members: all ranks, in order.
        own: the rank.
        secret: what rank 0 has told all of them.
        root: the name or address where rank 0 was found.
    """

    def __init__(
        self,
        seat: Seat,
        members: list[Introduction],
        own: Introduction,
        secret: str,
        root: str,
    ) -> None:
        self._seat = seat
        self._own = own
        self._secret = secret
        self._root = root
        self._there: dict[str, list[Introduction]] = {}
        for member in members:
            if member.machine != own.machine:
                self._there.setdefault(member.machine, []).append(member)
        self._lock = threading.Lock()
        self._has_ended = threading.Condition(self._lock)
        self._is_closed = False
        self._memory = -1
        self._spins = 0
        self._links: dict[str, socket.socket] = {}
        self._listener: socket.socket | None = None
        self._followed: dict[int, socket.socket] = {}

    # -- what others tell ------------------------------------------------------------
    def listen(self, address: str) -> int:
        """Wait for the ranks of other machines; the port. Raises OSError."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        backlog = sum(map(len, self._there.values()))
        self._listener = socket.create_server(
            (address, 0), family=family, backlog=backlog
        )
        return self._listener.getsockname()[1]

    def _accept(self, listener: socket.socket) -> None:
        remaining = {m.rank for ranks in self._there.values() for m in ranks}
        while remaining:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # it was closed
            rank = self._greeted(connection)
            with self._lock:
                if rank not in remaining or self._is_closed:
                    connection.close()
                    continue
                remaining.remove(rank)
                self._followed[rank] = connection
            threading.Thread(
                target=self._follow,
                args=(connection, rank),
                name=f"nkipy-world-follows-{rank}",
                daemon=True,
            ).start()
        listener.close()

    def _greeted(self, connection: socket.socket) -> int:
        """Who it is; -1 for a stranger."""
        try:
            tune(connection)
            connection.settimeout(_GREETING_SECONDS)
            said = receive(connection) or {}
            connection.settimeout(None)
        except (OSError, MessageError):
            return -1
        secret, rank = said.get("secret"), said.get("rank")
        knows = isinstance(secret, str) and hmac.compare_digest(
            secret.encode(), self._secret.encode()
        )
        return rank if knows and type(rank) is int else -1

    def _follow(self, connection: socket.socket, rank: int) -> None:
        try:
            self._seat.follow(connection.fileno(), rank)
        except (OSError, ValueError) as e:
            if not self._is_closed:
                self._seat.fail(f"rank {rank} cannot be understood: {e}")
        finally:
            with self._lock:
                connection.close()
                self._followed.pop(rank, None)
                self._has_ended.notify_all()

    # -- what this rank tells --------------------------------------------------------
    def keep(self, memory: int, spins: int) -> None:
        """The descriptor of this machine's memory, which is taken."""
        self._memory, self._spins = memory, spins
        self._form()

    def reach(self, message: dict[str, Any]) -> None:
        """Connect to the rank that hears for its machine, if that is another one.

        Raises:
            MessageError: the message is none.
            OSError: nobody can be reached there.
        """
        host, port, rank = (message.get(name) for name in ("host", "port", "at"))
        if not isinstance(host, str) or type(port) is not int:
            raise MessageError("no address of a machine")
        machine = next(
            (name for name, ranks in self._there.items() if ranks[0].rank == rank), None
        )
        if machine is None or machine in self._links:
            return
        connection = _connect(host or self._root, port)
        self._links[machine] = connection
        tune(connection)
        greeting = {"version": VERSION, "secret": self._secret, "rank": self._own.rank}
        send(connection, greeting)
        self._form()

    def _form(self) -> None:
        if self._memory < 0 or len(self._links) < len(self._there):
            return
        links = [
            (link.fileno(), [m.rank for m in self._there[machine]])
            for machine, link in self._links.items()
        ]
        self._seat.form(self._memory, self._spins, links)
        os.close(self._memory)
        self._memory = -1
        for link in self._links.values():
            link.close()  # the seat has its own copy
        if self._listener is not None:
            threading.Thread(
                target=self._accept,
                args=(self._listener,),
                name="nkipy-world-machines",
                daemon=True,
            ).start()

    # -- the end ---------------------------------------------------------------------
    def close(self, seconds: float = 0.0) -> None:
        """Hear no more, and have others know it.

        Args:
            seconds: wait for ranks of other machines to leave, too, but no longer: what
                they say may be for another rank of this machine.
        """
        with self._lock:
            self._has_ended.wait_for(lambda: not self._followed, seconds)
            self._is_closed = True
            for connection in self._followed.values():
                _shut(connection)
            if self._listener is not None:
                _shut(self._listener)
                self._listener.close()

    def forget(self) -> None:
        """In a forked child: have no part in it."""
        self._is_closed = True
        for connection in self._followed.values():
            connection.close()
        if self._listener is not None:
            self._listener.close()


def _connect(host: str, port: int) -> socket.socket:
    deadline = time.monotonic() + _CONNECT_SECONDS
    while True:
        try:
            connection = socket.create_connection((host, port), timeout=5)
            connection.settimeout(None)
            return connection
        except OSError as e:
            if time.monotonic() > deadline:
                raise OSError(f"{host}:{port} does not answer ({e})") from None
            time.sleep(0.05)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
