"""How the processes of a torch.distributed job share compilation and loading."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class TorchDistributed:
    """``torch.distributed`` of a process that uses it; we import nothing for it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.modules["torch.distributed"], name)

    def connects_processes(self) -> bool:
        """Whether this process is one of several of a job."""
        return (
            "torch.distributed" in sys.modules
            and self.is_available()
            and self.is_initialized()
            and self.get_world_size() > 1
        )


@dataclass(frozen=True)
class CollectiveSettings:
    """What loading a program with collectives takes.

    Attributes:
        enabled: whether the program talks to other ranks.
        rank_id: this process's rank.
        world_size: number of ranks.
    """

    enabled: bool = False
    rank_id: int = 0
    world_size: int = 1

    def load_arguments(self) -> dict[str, Any]:
        """Keyword arguments of ``load_from_neff``: none without collectives."""
        if not self.enabled:
            return {}
        return {
            "cc_enabled": True,
            "rank_id": self.rank_id,
            "world_size": self.world_size,
        }


def collective_settings(
    dist: Any,
    distributed: bool,
    cc_enabled: bool | None,
    rank_id: int | None,
    world_size: int | None,
) -> CollectiveSettings:
    """What was asked for, completed by what the job says.

    Raises:
        ValueError: collectives are on, and neither the caller nor a job says of what.
    """
    if cc_enabled is None:
        cc_enabled = distributed
    if not cc_enabled:
        return CollectiveSettings()
    if distributed:
        rank_id = dist.get_rank() if rank_id is None else rank_id
        world_size = dist.get_world_size() if world_size is None else world_size
    if rank_id is None or world_size is None:
        raise ValueError(
            "rank_id and world_size are required with cc_enabled=True outside of a "
            f"torch.distributed job, but received rank_id={rank_id}, "
            f"world_size={world_size}"
        )
    return CollectiveSettings(True, rank_id, world_size)


def compile_on_first_rank(
    dist: Any, make: Callable[[], tuple[str, str]]
) -> tuple[str, str]:
    """What `make` returns on rank 0, on all ranks.

    Raises:
        RuntimeError: `make` failed on rank 0; on rank 0 itself, what it raised.
    """
    message: list[Any] = [None, None]
    failure: BaseException | None = None
    if dist.get_rank() == 0:
        try:
            message = list(make())
        except Exception as error:  # the others wait for a message, good or bad
            failure = error
            message = [None, f"{type(error).__name__}: {error}"]
    dist.broadcast_object_list(message, src=0)
    if failure is not None:
        raise failure
    if message[0] is None:
        raise RuntimeError(f"compilation failed on rank 0\n{message[1]}")
    return message[0], message[1]
