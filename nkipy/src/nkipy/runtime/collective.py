"""How the processes of a job share compilation and loading."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nkipy.core.arguments import array_dtype
from nkipy.core.errors import NKIPyValueError
from nkipy.core.tree import map_tree, path_name
from nkipy.distributed.processes import (
    barrier,
    gather_messages,
    spans_machines,
    torch_distributed,
    world,
)


class JobProcesses:
    """The processes of this one's job, by methods of ``torch.distributed``'s names.

    They meet through it where it is initialised, else through libnrt.
    """

    def connects_processes(self) -> bool:
        """Whether this process is one of several of a job."""
        return world().size > 1

    def get_rank(self) -> int:
        """Which of them this one is."""
        return world().rank

    def get_world_size(self) -> int:
        """How many there are."""
        return world().size

    def barrier(self) -> None:
        """Return when all of them have come."""
        barrier()

    def broadcast_object_list(self, objects: list[Any], src: int = 0) -> None:
        """Replace the items of `objects` by those of rank `src`, of JSON's kinds."""
        torch = torch_distributed()
        if torch is not None:
            torch.broadcast_object_list(objects, src=src)
            return
        objects[:] = gather_messages(objects)[src]

    def agree(self, call: Mapping[str, str]) -> None:
        """Return if all ranks make the same call.

        Args:
            call: texts of its parts by name, as :func:`described_call` makes them.

        Raises:
            NKIPyValueError: some do not; on all ranks, with the first that differs.
        """
        first, *others = gather_messages(dict(call))
        for rank, other in enumerate(others, 1):
            if other == first:
                continue
            part = next(
                name
                for name in {**first, **other}
                if first.get(name) != other.get(name)
            )
            missing = "nothing"
            raise NKIPyValueError(
                "all ranks compile one program (is_spmd=True), but differ in "
                f"{part}: rank 0 has {first.get(part, missing)}, rank {rank} has "
                f"{other.get(part, missing)}; pass the same shapes, dtypes and values, "
                "or is_spmd=False"
            )


#: Values that are told of in full; of others, it is the type.
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def described_call(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, str]:
    """A kernel's name and arguments as texts, by what they are called."""
    made = {"the kernel's name": repr(name)}

    def describe(path: Any, leaf: Any) -> Any:
        shape, dtype = getattr(leaf, "shape", None), getattr(leaf, "dtype", None)
        if shape is not None and dtype is not None:
            dtype = array_dtype(leaf, path_name(path))
            text = f"{dtype.name}{list(shape)}"
        else:
            text = repr(leaf) if isinstance(leaf, _PLAIN) else type(leaf).__name__
        made[f"argument {path_name(path)}"] = text
        return leaf

    map_tree(describe, args)
    map_tree(describe, kwargs)
    return made


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
            "rank_id and world_size are required with cc_enabled=True outside of a job "
            "of several processes (torch.distributed, or a launcher's), but received "
            f"rank_id={rank_id}, world_size={world_size}"
        )
    return CollectiveSettings(True, rank_id, world_size)


def compile_on_first_rank(
    dist: Any, make: Callable[[], tuple[str, str]]
) -> tuple[str, str]:
    """What `make` returns on rank 0, on all ranks that see its file.

    A rank of another machine, with files of its own, calls `make` itself.

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
    if spans_machines() and not os.path.exists(message[0]):
        return make()
    return message[0], message[1]
