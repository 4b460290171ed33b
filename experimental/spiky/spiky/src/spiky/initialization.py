"""Begins and ends what the backend has in a process."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from torch._dynamo.backends.registry import lookup_backend

from nkipy.hlo.kernel_languages import language
from spiky import configuration
from spiky.checks import checked_number
from spiky.configuration import NKIPyBackendConfig
from spiky.errors import BackendError
from spiky.ranks import Place, find_place, take_core

logger = logging.getLogger("spiky")


def init_nkipy_backend(
    nkipy_cache: str | os.PathLike[str] | None = None,
    log_level: int | str = logging.INFO,
    rank: int | None = None,
    world_size: int | None = None,
    core_offset: int = 0,
    additional_compiler_args: str = "",
    pad_on_device: bool = True,
    keep_outputs_on_device: bool = False,
    pipelined: bool = True,
    input_layout: str = "auto",
    output_layout: str = "unpad",
    *,
    max_bucket_size: int = 2048,
    bucket_strategy: str = "power_of_2",
) -> None:
    """Set the backend up, once in each process, before the first compiled call.

    The runtime opens on one core: the rank on this machine (LOCAL_RANK) plus
    `core_offset`. Where NEURON_RT_VISIBLE_CORES names cores, they are counted among
    these, and a process that is no rank keeps all of them. No variable is written but
    that one, as by ``spike.configure``, and logging is not set up.

    Args:
        nkipy_cache: the directory of compiled programs, made if it does not exist; by
            default the one that nkipy has for this user. All ranks may share it.
        log_level: of the logger ``spiky``, a number or a name.
        rank: this process; by default what torch.distributed says, else LOCAL_RANK,
            RANK, 0.
        world_size: how many processes there are; by default what torch.distributed
            says, else WORLD_SIZE, 1.
        core_offset: added to the rank on this machine.
        additional_compiler_args: arguments of the compiler after nkipy's own, as a
            shell reads them.
        pad_on_device: as the option of :class:`spiky.CompileOptions`, for functions
            that are compiled without it, as all that follow.
        keep_outputs_on_device: the same.
        pipelined: the same.
        input_layout: the same.
        output_layout: the same.
        max_bucket_size: the same.
        bucket_strategy: the same.

    Raises:
        RuntimeError: the backend has been initialized already; or the core is not
            there, or not free, or the runtime is open on others.
        TypeError: an argument is of another type.
        ValueError: an argument cannot have that value; the rank is none of
            `world_size`; a variable of a launcher is no number, or
            NEURON_RT_VISIBLE_CORES no list of cores.
        OSError: the directory cannot be made.
        ImportError: the torch device "nkipy" cannot be registered; the text says why.
    """
    with configuration.lock():
        _check_is_first()
        place = _place_of(rank, world_size)
        config = NKIPyBackendConfig(
            nkipy_cache=nkipy_cache,  # type: ignore[arg-type]  # made a Path there
            log_level=log_level,  # type: ignore[arg-type]  # and a number
            rank=place.rank,
            world_size=place.world_size,
            core_offset=core_offset,
            additional_compiler_args=additional_compiler_args,
            max_bucket_size=max_bucket_size,
            bucket_strategy=bucket_strategy,
            pad_on_device=pad_on_device,
            keep_outputs_on_device=keep_outputs_on_device,
            pipelined=pipelined,
            input_layout=input_layout,
            output_layout=output_layout,
        )
        _begin(config, place)
    logger.info("rank %d of %d is initialized", config.rank, config.world_size)


def _check_is_first() -> None:
    if configuration.is_nkipy_backend_initialized():
        raise BackendError(
            "the nkipy backend has already been initialized: call "
            "reset_nkipy_backend() first, or set_nkipy_backend_config() to change "
            "how functions are compiled from now on"
        )


def _place_of(rank: int | None, world_size: int | None) -> Place:
    if rank is not None:
        checked_number("rank", rank, least=0)
    if world_size is not None:
        checked_number("world_size", world_size, least=1)
    return find_place(rank, world_size)


def _begin(config: NKIPyBackendConfig, place: Place) -> None:
    _make_directory(config.nkipy_cache)
    take_core(place, config.core_offset)
    # Of threads that compile first at the same time, all but one would fail in it.
    lookup_backend("nkipy")
    _keep_kernels_out_of_graphs()
    configuration.begin(config)


def _keep_kernels_out_of_graphs() -> None:
    """Have torch call NKI kernels; those that are loaded later see to it themselves."""
    if "nkipy_nki" in sys.modules:
        language().keep_out_of_graphs()


def _make_directory(directory: Path | None) -> None:
    if directory is not None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def reset_nkipy_backend() -> None:
    """Forget the configuration; does nothing if the backend is not initialized.

    Functions that were compiled go on as they were compiled, until ``torch._dynamo``
    forgets them. Tensors on the device stay as they are, and the runtime stays open:
    ``spike_torch.reset()`` closes it.
    """
    configuration.end()
