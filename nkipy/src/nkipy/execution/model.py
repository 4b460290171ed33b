"""A compiled module on a core: loaded when it is needed, unloaded when others are."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar
from weakref import WeakSet

import spike
from neff import NeffError, read_neff
from nkipy.execution.failures import explain, forget
from nkipy.execution.fork_locks import fork_lock
from nkipy.execution.residency import LOADED
from nkipy.hlo.ir import HLOModule
from spike import NrtError, NrtModel, NrtStatus, SpikeError
from spike._spike import NeffFileError

logger = logging.getLogger("nkipy.baremetal")

_BAD_FILE = NrtStatus.INVALID, NrtStatus.UNSUPPORTED_NEFF_VERSION

Made = TypeVar("Made")


class Bound(Protocol):
    """A call that is bound to a model: it has memory for it, and one runs at a time."""

    lock: threading.Lock

    def release(self) -> None:
        """Give up what is the model's, or is of use with it alone. The lock is held."""


class ResidentModel:
    """A NEFF on one core, shared by all calls that are bound to it.

    It is loaded for the first of them, and again when it has been unloaded since, or
    the runtime has been reset.

    Args:
        neff: the compiled module; the file must stay.
        module: the module, all of whose parameters and results have elements.
        core_id: the core, counted among the visible ones.
        rebuild: makes the file again, if it turns out to be gone or damaged.
        rank: of a program with collectives, its rank and the number of ranks.
    """

    def __init__(
        self,
        neff: Path,
        module: HLOModule,
        core_id: int = 0,
        rebuild: Callable[[], object] | None = None,
        rank: tuple[int, int] | None = None,
    ) -> None:
        self.neff = neff
        self.module = module
        self.core_id = core_id
        self._rebuild = rebuild
        self._rank = rank
        self._lock = fork_lock()
        self._model: NrtModel | None = None
        self._bound: WeakSet[Bound] = WeakSet()

    @property
    def is_loaded(self) -> bool:
        """Whether it occupies its core's memory."""
        return self._model is not None and not self._model.is_unloaded

    def register(self, bound: Bound) -> None:
        """Have `bound` release what it has when the model is unloaded."""
        with self._lock:
            self._bound.add(bound)

    def enter(self, make: Callable[[NrtModel], Made]) -> Made:
        """What `make` makes of the model, which is loaded first if it is not.

        If memory is short for either, programs that are idle make room; if the file is
        damaged, it is built again.

        Raises:
            NrtError: the device refuses the program, or has no memory left.
            ValueError: as :attr:`Residency.limit`.
        """
        LOADED.check()
        with self._lock:
            try:
                made = self._make_with_room(make)
            except (NrtError, SpikeError) as error:
                if self._rebuild is None or not _is_damaged(self.neff, error):
                    raise
                logger.warning("%s is damaged; compiling it again", self.neff)
                self._rebuild()
                made = self._make_with_room(make)
            # With our lock, LOADED's may be waited for; with LOADED's, no one waits
            # for ours (see unload_if_idle).
            LOADED.use(self)
        return made

    def unload(self) -> None:
        """Free the core's memory, after running calls have ended."""
        with self._lock:
            bound = list(self._bound)
        for each in bound:
            with each.lock:
                each.release()
        with self._lock:
            self._unload()
            # Not later: another thread may have loaded it again by then.
            LOADED.discard(self)

    def unload_if_idle(self) -> bool:
        """Unload unless a call is running. Returns whether that was done."""
        if not self._lock.acquire(blocking=False):
            return False
        held: list[Bound] = []
        try:
            for each in list(self._bound):
                if not each.lock.acquire(blocking=False):
                    return False
                held.append(each)
            for each in held:
                each.release()
            self._unload()
        finally:
            for each in held:
                each.lock.release()
            self._lock.release()
        return True

    def _unload(self) -> None:
        model, self._model = self._model, None
        if model is not None:
            model.unload()

    def _make_with_room(self, make: Callable[[NrtModel], Made]) -> Made:
        try:
            return self._make(make)
        except NrtError as error:
            if error.status != NrtStatus.RESOURCE or not LOADED.evict(keep=self):
                raise
        # Only here is the exception gone, and with it the tensors of the first attempt.
        logger.info("%s: unloaded idle kernels to make room", self.neff)
        return self._make(make)

    def _make(self, make: Callable[[NrtModel], Made]) -> Made:
        if self.is_loaded and self._model is not None:
            return make(self._model)
        self._model = self._load()
        try:
            return make(self._model)
        except BaseException:
            self._unload()
            raise

    def _load(self) -> NrtModel:
        runtime = spike.get_spike_singleton()
        rank = () if self._rank is None else (True, *self._rank)
        forget()
        try:
            return runtime.load_model(str(self.neff), self.core_id, *rank)
        except NrtError as error:
            explain(error)
            raise


def _is_damaged(neff: Path, error: NrtError | SpikeError) -> bool:
    """Whether loading failed because of the file: missing, truncated, changed.

    The status does not tell: a core that there is not, or another number of physical
    cores, is the same NRT_INVALID, and compiling again would take long for nothing.
    """
    if isinstance(error, NeffFileError):
        return True
    if not isinstance(error, NrtError) or error.status not in _BAD_FILE:
        return False
    try:
        read_neff(neff, validate_hash=True)
    except (NeffError, OSError):
        return True
    return False
