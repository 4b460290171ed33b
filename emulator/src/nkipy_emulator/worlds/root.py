"""The process of rank 0 listens for the others, and tells each how it stands."""

from __future__ import annotations

import os
import secrets
import selectors
import socket
import threading
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from nkipy_emulator.errors import WorldError
from nkipy_emulator.worlds.introduction import Introduction
from nkipy_emulator.worlds.messages import (
    MAX_INTRODUCTION,
    VERSION,
    MessageError,
    Reader,
    pack,
    tune,
)

#: Whoever connects and says nothing is in nobody's way, up to here.
_MAX_STRANGERS = 1024


@dataclass(eq=False)
class _Peer:
    """A connection; `who` when it has said so."""

    connection: socket.socket
    reader: Reader = field(default_factory=lambda: Reader(MAX_INTRODUCTION))
    who: Introduction | None = None
    has_left: bool = False


_Key: TypeAlias = tuple[str, str, int]


def _key(who: Introduction) -> _Key:
    """Those with the same are of one world."""
    return who.purpose, who.job, who.ranks


@dataclass
class _Forming:
    """The ranks of one world that are there."""

    peers: dict[int, _Peer] = field(default_factory=dict)
    is_formed: bool = False


class Root:
    """Listens at an address until nobody needs it any more: see :func:`share_root`.

    Args:
        address: a name or an address of this machine, and a port.

    Raises:
        OSError: nobody can listen there.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.users = 0  # guarded by _lock
        family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        self._listener = socket.create_server(address, family=family, backlog=256)
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._peers: set[_Peer] = set()
        self._worlds: dict[_Key, _Forming] = {}
        self._thread = threading.Thread(
            target=self._serve, name="nkipy-world-root", daemon=True
        )
        self._thread.start()

    def give_up(self) -> None:
        """Stop listening, if nobody else shares it.

        Ranks that are connected are told that rank 0 has left.
        """
        with _lock:
            self.users -= 1
            if self.users > 0:
                return
            _roots.pop(self.address, None)
            self._wake.send(b"x")
            self._thread.join()

    def forget(self) -> None:
        """In a forked child: have no part in it. Nothing is sent."""
        for peer in self._peers:
            peer.connection.close()
        for own in (self._listener, self._wake, self._woken):
            own.close()

    # -- the thread ------------------------------------------------------------------
    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    self._end()
                    return
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._read(key.data)

    def _end(self) -> None:
        self._listener.close()
        for peer in list(self._peers):
            self._tell(peer, {"closed": True})
            self._drop(peer)
        self._selector.close()
        self._wake.close()
        self._woken.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        strangers = sum(peer.who is None for peer in self._peers)
        if strangers >= _MAX_STRANGERS:
            connection.close()
            return
        # Nobody who does not read may hold up the others.
        connection.setblocking(False)
        tune(connection)
        peer = _Peer(connection)
        self._peers.add(peer)
        self._selector.register(connection, selectors.EVENT_READ, peer)

    def _read(self, peer: _Peer) -> None:
        if peer not in self._peers:
            return
        try:
            data = peer.connection.recv(peer.reader.wanted)
            message = peer.reader.feed(data) if data else None
            if message is not None:
                self._take(peer, message)
        except BlockingIOError:
            return
        except (OSError, MessageError):
            data = b""
        if not data:
            self._lose(peer)

    def _take(self, peer: _Peer, message: dict[str, Any]) -> None:
        if "leaving" in message:
            peer.has_left = True
            return
        if peer.who is not None:
            self._take_port(peer, peer.who, message)
            return
        if message.get("version") != VERSION:
            raise MessageError("another version")
        who = Introduction.from_message(message.get("rank"))
        world = self._worlds.setdefault(_key(who), _Forming())
        taken = world.peers.get(who.rank)
        if world.is_formed or taken is not None:
            # It may be about to end: who asks tries again.
            by = str(taken.who if taken is not None else who)
            self._tell(peer, {"taken": by})
            self._drop(peer)
            return
        peer.who = who
        world.peers[who.rank] = peer
        if len(world.peers) == who.ranks:
            world.is_formed = True
            members = [world.peers[r].who for r in range(who.ranks)]
            ranks = [m.as_message() for m in members if m is not None]
            told: dict[str, Any] = {"ranks": ranks}
            if len({m.machine for m in members if m is not None}) > 1:
                told["secret"] = secrets.token_hex(32)
            self._tell_all(world, told)
        else:
            missing = [r for r in range(who.ranks) if r not in world.peers]
            self._tell_all(world, {"missing": missing[:16], "count": len(missing)})

    def _take_port(
        self, peer: _Peer, who: Introduction, message: dict[str, Any]
    ) -> None:
        """One rank of a machine says where it listens for those of others."""
        world, port = self._worlds.get(_key(who)), message.get("port")
        if world is None or not world.is_formed:
            raise MessageError("introduced twice")
        if type(port) is not int or not 0 < port < 1 << 16:
            raise MessageError(f"port is {port!r}")
        host = peer.connection.getpeername()[0]
        first = world.peers.get(0)
        if first is not None and first.who and first.who.machine == who.machine:
            host = ""  # where all have found rank 0
        self._tell_all(world, {"host": host, "port": port, "at": who.rank})

    def _lose(self, peer: _Peer) -> None:
        """The connection has ended."""
        self._drop(peer)
        who = peer.who
        if who is None:
            return
        world = self._worlds[_key(who)]
        if world.peers.get(who.rank) is peer:
            del world.peers[who.rank]
        if world.is_formed:
            end = {"gone" if peer.has_left else "ended": who.as_message()}
            self._tell_all(world, end)
            if not peer.has_left:  # no member is of use to another one any more
                for other in list(world.peers.values()):
                    self._drop(other)
                world.peers.clear()
        if not world.peers:
            self._worlds.pop(_key(who), None)

    def _tell_all(self, world: _Forming, message: dict[str, Any]) -> None:
        for peer in list(world.peers.values()):
            self._tell(peer, message)

    def _tell(self, peer: _Peer, message: dict[str, Any]) -> None:
        try:
            peer.connection.sendall(pack(message))
        except OSError:
            pass  # it has ended, which its connection will say, or it reads nothing

    def _drop(self, peer: _Peer) -> None:
        if peer in self._peers:
            self._peers.remove(peer)
            self._selector.unregister(peer.connection)
            peer.connection.close()


_lock = threading.Lock()
_roots: dict[tuple[str, int], Root] = {}


def share_root(address: tuple[str, int]) -> Root:
    """This process's listener at an address, to be given up.

    Raises:
        WorldError: nobody can listen there.
    """
    with _lock:
        root = _roots.get(address)
        if root is None:
            try:
                root = _roots[address] = Root(address)
            except OSError as e:
                raise WorldError(
                    f"rank 0 cannot listen at {address[0]}:{address[1]} ({e}): "
                    "NEURON_RT_ROOT_COMM_ID has to be an address of this machine with "
                    "a port that nobody uses, neither another job nor another process "
                    "that has rank 0 (where it is not set: another MASTER_PORT)"
                ) from None
        root.users += 1
        return root


def _forget_after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    for root in _roots.values():
        root.forget()
    _roots.clear()


os.register_at_fork(after_in_child=_forget_after_fork)
