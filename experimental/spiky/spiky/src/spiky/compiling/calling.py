"""Calls of a whole graph, as options want them: padded before, or profiled."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import count
from typing import Any

from spiky.compiling.part import Part
from spiky.options import CompileOptions
from spiky.padding import PaddingMetadata, attach_metadata, get_metadata, is_any_padded


def called(part: Part, options: CompileOptions, rank: int) -> Callable[..., Any]:
    """What runs a part, with the graph's inputs as arguments.

    Args:
        part: the graph.
        options: of the function.
        rank: of this process, of which the first alone writes profiles.
    """
    run: Callable[..., list[Any]] = part
    if options.save_ntff and rank == 0:
        run = _Profiled(part, options)
    if part.symbols and not options.unpad_outputs:
        run = _ToPadded(part, run)
    if part.symbols:
        run = _FromPadded(part, run, is_required=options.input_layout == "padded")

    def call(*arguments: Any) -> list[Any]:
        return run(list(arguments))

    return call


class _Profiled:
    """Writes a profile of each execution, or of some."""

    def __init__(self, part: Part, options: CompileOptions) -> None:
        self._part = part
        self._directory = options.save_ntff_dir
        self._wanted = frozenset(options.save_ntff_exe_idx)
        self._count = count()

    def __call__(self, arguments: list[Any], sizes: Any = None) -> list[Any]:
        number = next(self._count)
        if self._wanted and number not in self._wanted:
            return self._part(arguments, sizes)
        neff, key = self._part.neff_for(arguments, sizes)
        folder = self._directory / f"kernel_{key[:8]}"
        folder.mkdir(parents=True, exist_ok=True)
        copy = folder / neff.name
        if not copy.exists():
            shutil.copyfile(neff, copy)
        return self._part(arguments, sizes, str(folder / f"{number}.ntff"))


class _FromPadded:
    """Takes inputs that are as large as a bucket already, and say how much counts."""

    def __init__(
        self, part: Part, run: Callable[..., list[Any]], is_required: bool
    ) -> None:
        self._part = part
        self._run = run
        self._is_required = is_required
        self._dynamic = part.dynamic_inputs()

    def __call__(self, arguments: list[Any]) -> list[Any]:
        if not self._is_required and not is_any_padded():
            return self._run(arguments)
        found: dict[Any, int] = {}
        for place, dimension, symbol in self._dynamic:
            metadata = get_metadata(arguments[place])
            if metadata is not None and metadata.pad_dim == dimension:
                found[symbol] = metadata.original_size
            elif self._is_required:
                raise ValueError(
                    f"option 'input_layout' is \"padded\", and argument {place}, whose "
                    f"dimension {dimension} is dynamic, has no PaddingMetadata for it: "
                    "make it by spiky.pad_inputs"
                )
        if not found:
            return self._run(arguments)
        values = self._part.values_of(arguments)
        sizes = [found.get(s, n) for s, n in zip(self._part.symbols, values)]
        return self._run(arguments, sizes)


class _ToPadded:
    """Returns results as large as their bucket, with how much of them counts."""

    def __init__(self, part: Part, run: Callable[..., list[Any]]) -> None:
        self._part = part
        self._run = run
        self._dynamic = part.dynamic_results()

    def __call__(self, arguments: list[Any], sizes: Any = None) -> list[Any]:
        results = self._run(arguments, sizes)
        values = self._part.values_of(arguments) if sizes is None else sizes
        by_symbol = dict(zip(self._part.symbols, values, strict=True))
        for place, dimension, size in self._dynamic:
            tensor, actual = results[place], int(size.xreplace(by_symbol))
            padded = tensor.shape[dimension]
            attach_metadata(tensor, PaddingMetadata(actual, padded, dimension))
        return results
