"""How the runtime finds what executes HLO on the CPU.

An entry point in the group ``nkipy.simulators`` names a class with the methods of
:class:`Engine`; ``docs/dev_guide/entry_points.md`` has all groups by which packages
find each other. On a machine with Trainium, nothing of the emulator needs to be
installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nkipy.execution.fork_locks import fork_lock
from nkipy.hlo.entry_points import load_first
from nkipy.hlo.ir import HLOModule
from nkipy.installed import how_to_install

if TYPE_CHECKING:
    from nkipy.hlo.options import Meeting, SimulationOptions

GROUP = "nkipy.simulators"


class Executable(Protocol):
    """A compiled module."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array for a result, so laid out that a later call can read it in place."""

    def run(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Execute once. Arrays are C-contiguous, of the module's shapes and dtypes.

        Results are written into `outputs` after all else has succeeded.
        """


class ReplicatedExecutable(Executable, Protocol):
    """A compiled module that can run on several ranks at once."""

    def run_replicas(
        self,
        inputs: Sequence[Sequence[np.ndarray]],
        outputs: Sequence[Sequence[np.ndarray]],
    ) -> None:
        """Execute on all ranks at once, one list of arrays per rank."""


class Engine(Protocol):
    """Compiles modules for the CPU."""

    identity: str

    def compile(
        self,
        module: HLOModule,
        *,
        options: SimulationOptions | None = None,
        num_replicas: int = 1,
        meeting: Meeting | None = None,
    ) -> ReplicatedExecutable:
        """Compile `module`, for `num_replicas` ranks that run together, or for one
        that exchanges values with ranks of other processes."""


class SimulatorNotFoundError(ImportError):
    """No package that can execute HLO is installed."""


_lock = fork_lock()
_engine: Engine | None = None


def find_engine() -> Engine:
    """The installed engine, made on first use.

    Raises:
        SimulatorNotFoundError: none is installed.
        EntryPointError: what is installed cannot be loaded.
    """
    global _engine
    with _lock:
        if _engine is None:
            _engine = _load()
        return _engine


def _load() -> Any:
    make = load_first(GROUP)
    if make is None:
        raise SimulatorNotFoundError(
            "simulation executes HLO through XLA, which comes with the emulator: "
            + how_to_install("nkipy-emulator")
        )
    return make()
