"""Options of one compiled function: ``torch.compile(..., options={...})``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from spiky.checks import checked_flag, checked_name, checked_number, checked_path
from spiky.configuration import (
    BUCKET_STRATEGIES,
    INPUT_LAYOUTS,
    OUTPUT_LAYOUTS,
    NKIPyBackendConfig,
)
from spiky.errors import OptionError, OptionTypeError

#: What becomes of an operation that has no lowering.
UNSUPPORTED = ("eager", "error")


@dataclass(frozen=True)
class Buckets:
    """Sizes that programs are compiled for, in ascending order.

    Attributes:
        everywhere: of every dynamic dimension that `by_dimension` does not have; empty
            if only that has some.
        by_dimension: pairs of a dimension's number and its sizes.
    """

    everywhere: tuple[int, ...] = ()
    by_dimension: tuple[tuple[int, tuple[int, ...]], ...] = ()

    def of(self, dimension: int) -> tuple[int, ...]:
        """Of a dimension, by its number in the input that has it first; or empty."""
        return dict(self.by_dimension).get(dimension, self.everywhere)


@dataclass(frozen=True)
class CompileOptions:
    """How one function is compiled and run.

    Attributes:
        pipelined: accepted, for what was written for it: calls are synchronous.
        pad_on_device: pad inputs in the core's memory, and not before they come there.
        input_layout: "padded": dynamic inputs come as large as a bucket, and with
            PaddingMetadata; "auto": they may.
        output_layout: "padded": outputs come as large as the bucket, and with
            PaddingMetadata; "unpad": cut to their sizes.
        keep_outputs_on_device: leave outputs on the core, if inputs are the CPU's too.
        unpad_outputs: cut outputs to their sizes; what `output_layout` says if it is
            not given.
        buckets: sizes of dynamic dimensions, all that there are; None: by
            `bucket_strategy`.
        jit: compile a bucket when a call needs it first; else all `buckets` are
            compiled with the first call, and no other size is taken.
        save_ntff: write profiles of what runs.
        save_ntff_dir: the directory that they are written into.
        save_ntff_exe_idx: which executions, from 0 on; empty: all of them.
        unsupported: what becomes of an operation that cannot be compiled: "eager", it
            runs between compiled parts; "error", compiling raises.
        flash_attention: compute scaled_dot_product_attention by a flash attention
            kernel where one is installed and shapes fit; `explain` says why not.
        bucket_strategy, max_bucket_size: as of the configuration.
    """

    pipelined: bool = True
    pad_on_device: bool = True
    input_layout: str = "auto"
    output_layout: str = "unpad"
    keep_outputs_on_device: bool = False
    unpad_outputs: bool = True
    buckets: Buckets | None = None
    jit: bool = True
    save_ntff: bool = False
    save_ntff_dir: Path = Path("ntff_dir")
    save_ntff_exe_idx: tuple[int, ...] = ()
    unsupported: str = "eager"
    flash_attention: bool = False
    bucket_strategy: str = "power_of_2"
    max_bucket_size: int = 2048


def read_options(
    given: Mapping[str, Any] | None, config: NKIPyBackendConfig
) -> CompileOptions:
    """What torch.compile was given as options; the rest is the configuration's.

    Raises:
        OptionError: there is no such option, or it cannot have that value, or two of
            them contradict each other; a ValueError.
        OptionTypeError: an option is of another type; a TypeError, too.
    """
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        raise OptionTypeError(f"options are a dict: got {given!r}")
    for name in given:
        if name not in NAMES:
            raise OptionError(_unknown(name))
    read = {name: _read(name, value) for name, value in given.items()}
    inherited = {name: getattr(config, name) for name in _OF_CONFIG if name not in read}
    read |= inherited
    read.setdefault("unpad_outputs", read["output_layout"] == "unpad")
    if not read.get("jit", True) and read.get("buckets") is None:
        raise OptionError(
            "option 'jit' is False, and no sizes are given that could be compiled "
            "before: give 'buckets', too"
        )
    return CompileOptions(**read)


def _unknown(name: object) -> str:
    near = get_close_matches(str(name), NAMES, 1)
    meant = f"did you mean {near[0]!r}? There are" if near else "there are"
    return f'backend "nkipy" has no option {name!r}: {meant} {", ".join(NAMES)}'


def _read(name: str, value: Any) -> Any:
    try:
        return _READERS[name](f"option {name!r}", value)
    except TypeError as error:
        raise OptionTypeError(str(error)) from None
    except ValueError as error:
        raise OptionError(str(error)) from None


# -- how each is read ------------------------------------------------------------------
def _one_of(names: tuple[str, ...]) -> Any:
    return lambda name, value: checked_name(name, value, names)


def _directory(name: str, value: Any) -> Path:
    path = checked_path(name, value)
    if path is None:
        raise TypeError(f"{name} is the path of a directory: got None")
    return path


def _executions(name: str, value: Any) -> tuple[int, ...]:
    return tuple(_numbers(name, value, "executions", least=0))


def _buckets(name: str, value: Any) -> Buckets | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        return Buckets(everywhere=_sizes(name, value))
    if not value:
        raise ValueError(f"{name} has no dimension: leave it out, or give some")
    dimensions = (checked_number(f"a dimension of {name}", d, 0) for d in value)
    sizes = [_sizes(f"{name}[{d!r}]", of_d) for d, of_d in value.items()]
    return Buckets(by_dimension=tuple(zip(dimensions, sizes, strict=True)))


def _sizes(name: str, value: Any) -> tuple[int, ...]:
    sizes = _numbers(name, value, "sizes", least=1)
    if not sizes:
        raise ValueError(f"{name} is empty: leave it out, or give sizes")
    return tuple(sorted(set(sizes)))


def _numbers(name: str, value: Any, what: str, least: int) -> list[int]:
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes, Mapping)):
        raise TypeError(f"{name} is a list of {what}: got {value!r}")
    return [checked_number(f"each of {name}", number, least) for number in value]


_READERS: dict[str, Any] = {
    "pipelined": checked_flag,
    "pad_on_device": checked_flag,
    "input_layout": _one_of(INPUT_LAYOUTS),
    "output_layout": _one_of(OUTPUT_LAYOUTS),
    "keep_outputs_on_device": checked_flag,
    "unpad_outputs": checked_flag,
    "buckets": _buckets,
    "jit": checked_flag,
    "save_ntff": checked_flag,
    "save_ntff_dir": _directory,
    "save_ntff_exe_idx": _executions,
    "unsupported": _one_of(UNSUPPORTED),
    "flash_attention": checked_flag,
    "bucket_strategy": _one_of(BUCKET_STRATEGIES),
    "max_bucket_size": lambda name, value: checked_number(name, value, least=1),
}
#: The names of all options.
NAMES = tuple(field.name for field in fields(CompileOptions))
_OF_CONFIG = tuple(n for n in NAMES if hasattr(NKIPyBackendConfig, n))
