"""Threads that write to arrays while others read them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def written_meanwhile(write: Callable[[], object]) -> Iterator[None]:
    """`write` is called again and again, by a thread of its own."""
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            write()

    writer = threading.Thread(target=run)
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()
