"""How the backend is set up: one configuration for a process.

Options of a function (:mod:`spiky.options`) begin at what it says.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

from nkipy.compiler.build import BuildOptions
from spiky import warned
from spiky.checks import (
    checked_flag,
    checked_name,
    checked_number,
    checked_path,
    checked_text,
)
from spiky.errors import BackendError

#: Of a dynamic input: padded here where it needs it, or by the caller in any case.
INPUT_LAYOUTS = ("auto", "padded")
#: Of outputs: cut to their sizes, or as large as the bucket.
OUTPUT_LAYOUTS = ("unpad", "padded")
#: How large buckets are that no option names.
BUCKET_STRATEGIES = ("power_of_2", "linear", "exact")


@dataclass(frozen=True)
class NKIPyBackendConfig:
    """How models are compiled, and who this process is.

    Attributes:
        nkipy_cache: the directory of compiled programs, from the root on; None: the
            one that nkipy has for this user. All ranks share it.
        log_level: of the logger ``spiky``, as a number.
        rank: this process among those of its job.
        world_size: how many there are.
        core_offset: what is added to the rank on this machine to be the core's number.
        additional_compiler_args: arguments of the compiler after nkipy's own.
        max_bucket_size: the largest bucket that is chosen by itself: what is longer is
            compiled for a multiple of it.
        bucket_strategy: "power_of_2", "linear" or "exact", which pads nothing.
        pad_on_device: whether inputs are padded in the core's memory.
        keep_outputs_on_device: whether outputs stay there, whatever device inputs have.
        pipelined: whether a call may return before its program has ended.
        input_layout: "auto", or "padded": dynamic inputs come with PaddingMetadata.
        output_layout: "unpad", or "padded": outputs come as large as the bucket.

    Raises:
        TypeError: a field is of another type.
        ValueError: a field cannot have that value.
    """

    nkipy_cache: Path | None = None
    log_level: int = logging.INFO
    rank: int = 0
    world_size: int = 1
    core_offset: int = 0
    additional_compiler_args: str = ""
    max_bucket_size: int = 2048
    bucket_strategy: str = "power_of_2"
    pad_on_device: bool = True
    keep_outputs_on_device: bool = False
    pipelined: bool = True
    input_layout: str = "auto"
    output_layout: str = "unpad"

    def __post_init__(self) -> None:
        self._set("nkipy_cache", checked_path("nkipy_cache", self.nkipy_cache))
        self._set("log_level", checked_level(self.log_level))
        checked_number("rank", self.rank, least=0)
        checked_number("world_size", self.world_size, least=1)
        checked_number("core_offset", self.core_offset, least=0)
        checked_number("max_bucket_size", self.max_bucket_size, least=1)
        checked_text("additional_compiler_args", self.additional_compiler_args)
        for name in ("pad_on_device", "keep_outputs_on_device", "pipelined"):
            checked_flag(name, getattr(self, name))
        checked_name("bucket_strategy", self.bucket_strategy, BUCKET_STRATEGIES)
        checked_name("input_layout", self.input_layout, INPUT_LAYOUTS)
        checked_name("output_layout", self.output_layout, OUTPUT_LAYOUTS)
        if self.rank >= self.world_size:
            raise ValueError(
                f"rank {self.rank} is none of {self.world_size}: ranks go from 0 to "
                "world_size - 1"
            )
        self.build_options()  # which reads the compiler's arguments

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def build_options(self, extra_key: bytes = b"") -> BuildOptions:
        """How a program is built: where it lies, and by which arguments.

        Args:
            extra_key: what tells it from others of the same module.
        """
        return BuildOptions(
            additional_compiler_args=self.additional_compiler_args,
            directory=self.nkipy_cache,
            extra_key=extra_key,
        )


def checked_level(level: object) -> int:
    """A level of logging as a number.

    Raises:
        TypeError: it is neither a number nor a name.
        ValueError: logging has no level of that name.
    """
    if isinstance(level, bool) or not isinstance(level, (int, str)):
        raise TypeError(
            f"log_level is a level of logging, such as logging.INFO: got {level!r}"
        )
    if isinstance(level, int):
        return level
    number = logging.getLevelName(level.upper())
    if not isinstance(number, int):
        raise ValueError(f"log_level {level!r} is no level of logging")
    return number


@dataclass
class _State:
    """What init_nkipy_backend has set up; `first` is what it was called with."""

    first: NKIPyBackendConfig | None = None
    now: NKIPyBackendConfig | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)


_state = _State()
#: What there is to say where the backend is not set up.
NOT_INITIALIZED = (
    'torch.compile\'s backend "nkipy" is not initialized: call '
    "spiky.torch.init_nkipy_backend() first, once in each process"
)


def is_nkipy_backend_initialized() -> bool:
    """Whether init_nkipy_backend has been called, and not reset_nkipy_backend since."""
    return _state.now is not None


def get_nkipy_backend_config() -> NKIPyBackendConfig:
    """The configuration that functions are compiled by from now on.

    Raises:
        RuntimeError: the backend is not initialized.
    """
    if _state.now is None:
        raise BackendError(NOT_INITIALIZED)
    return _state.now


def set_nkipy_backend_config(config: NKIPyBackendConfig) -> None:
    """Compile by another configuration from now on.

    What is compiled stays as it is. ``dataclasses.replace`` makes one of another.

    Args:
        config: rank, world_size and core_offset are those that there are: the core is
            taken already.

    Raises:
        RuntimeError: the backend is not initialized.
        TypeError: it is no NKIPyBackendConfig.
        ValueError: it is of another rank, number of ranks or core.
    """
    if not isinstance(config, NKIPyBackendConfig):
        raise TypeError(f"expected an NKIPyBackendConfig, got {config!r}")
    with _state.lock:
        now = get_nkipy_backend_config()
        for name in ("rank", "world_size", "core_offset"):
            there, wanted = getattr(now, name), getattr(config, name)
            if there != wanted:
                raise ValueError(
                    f"{name} is {there}, and cannot be {wanted} any more: call "
                    "reset_nkipy_backend() and init_nkipy_backend() for that"
                )
        _put(config)


def reset_nkipy_backend_config() -> None:
    """Compile by what init_nkipy_backend was called with; does nothing before it."""
    with _state.lock:
        if _state.first is not None:
            _put(_state.first)


def lock() -> threading.RLock:
    """Held by whoever begins or ends."""
    return _state.lock


def begin(config: NKIPyBackendConfig) -> None:
    """Have the backend be initialized."""
    with _state.lock:
        _state.first = config
        _put(config)


def end() -> None:
    """Have it be what it was before."""
    with _state.lock:
        _state.first = _state.now = None
        warned.forget()
        logging.getLogger("spiky").setLevel(logging.NOTSET)


def _put(config: NKIPyBackendConfig) -> None:
    _state.now = config
    logging.getLogger("spiky").setLevel(config.log_level)
