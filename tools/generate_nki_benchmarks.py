"""Writes how long the sample kernels of NKI would take: estimates, never measured.

    uv run tools/generate_nki_benchmarks.py          # write the pages anew
    uv run tools/generate_nki_benchmarks.py --check  # exit code 1 if one is not current

The pages are in git, in the layout of sample kernels: ``docs/benchmarks`` of their
package. Kernels are traced for shapes and not run: estimates depend on no values.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from generated_files import main  # noqa: E402

from nki_simulator.src.reference import attention, mamba, rotary, softmax  # noqa: E402
from nki_simulator.src.tutorials import (  # noqa: E402
    layernorm,
    matrix_multiplication,
    rmsnorm,
    tensor_addition,
    transpose2d,
)
from nki_simulator.test.integration import model  # noqa: E402
from nkipy.chips import Chip, find_chip  # noqa: E402
from nkipy.core.trace import trace_function  # noqa: E402
from nkipy_emulator.cost_model import estimate  # noqa: E402
from nkipy_nki.embedding import ArraySpec, as_kernel, embed  # noqa: E402
from nkipy_nki.targets import VARIABLE  # noqa: E402
from nkipy_nki.timing import Report, schedule  # noqa: E402
from nkipy_nki.wire import decode  # noqa: E402

FOLDER = "nki_simulator/docs/benchmarks"
TARGETS = ("trn1", "trn2", "trn3")
ENGINES = {
    "tensor": "TensorE",
    "vector": "VectorE",
    "scalar": "ScalarE",
    "gpsimd": "GpSimd",
    "dma": "DMA",
}
_NOTE = """\
All times and shares are **estimates**, from the kernels' instructions and the published
figures of the chips; none was measured. *Share* is the part of the time for which an
engine works. Written by `tools/generate_nki_benchmarks.py`; not to be edited.
"""
_F32, _BF16 = np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16)


@dataclass(frozen=True)
class Case:
    """A kernel, called for certain arrays.

    Attributes:
        kernel: the kernel.
        shapes: of its arrays.
        dtype: theirs.
        float32: which of them are float32 whatever `dtype` is.
        more: its other arguments.
    """

    kernel: Any
    shapes: tuple[tuple[int, ...], ...]
    dtype: np.dtype = _F32
    float32: tuple[int, ...] = ()
    more: tuple[tuple[str, Any], ...] = ()

    @property
    def title(self) -> str:
        """The kernel as it is called: its name and its cores."""
        made = as_kernel(self.kernel)
        return made.func.__name__ + (f"[{made.lnc}]" if made.lnc else "")

    @property
    def configuration(self) -> str:
        """The arrays and what else it is told."""
        shapes = (" × ".join(map(str, shape)) for shape in self.shapes)
        return "; ".join((*shapes, *(f"{name}={value}" for name, value in self.more)))

    def reports(self, chip: Chip) -> list[Report]:
        """Where the time of each core goes."""
        specs = tuple(
            ArraySpec(shape, _F32 if place in self.float32 else self.dtype)
            for place, shape in enumerate(self.shapes)
        )
        made = embed(as_kernel(self.kernel), specs, dict(self.more), chip.name)
        return [Report(schedule(p), self.title) for p in decode(made.program)]


def _both(kernel: Any, *shapes: tuple[int, ...], **named: Any) -> Iterator[Case]:
    """In both dtypes."""
    for dtype in (_F32, _BF16):
        yield Case(kernel, shapes, dtype, **named)


def _attention() -> Iterator[Case]:
    def shapes(tokens: int) -> tuple[tuple[int, ...], ...]:
        turned = (1, 1, 128, tokens)
        return turned, turned, (1, 1, tokens, 128)

    for causal in (False, True):
        more = (("causal", causal),)
        for tokens in (1024, 2048):
            yield from _both(attention.flash_fwd, *shapes(tokens), more=more)


def _mamba() -> Iterator[Case]:
    for steps in (512, 1024):
        x, states = (256, steps), (16, steps)
        yield from _both(
            mamba.mamba_scan, x, x, (256, 16), states, states, float32=(2,)
        )


def _rotary() -> Iterator[Case]:
    angles = (1024, 64)
    shapes = (1024, 8, 128), angles, angles
    yield from _both(rotary.rotary_embedding, *shapes, float32=(1, 2))


def _products() -> Iterator[Case]:
    yield from _both(matrix_multiplication.matmul_basic, (128, 128), (128, 512))
    for kernel in matrix_multiplication.STAGES:
        yield from _both(kernel, (2048, 1024), (2048, 1024))


def _norms(module: Any, names: Iterable[str], more: int) -> Iterator[Case]:
    for name in names:
        for rows, columns in ((300, 1000), (4096, 1024)):
            weights = [(columns,)] * more
            yield from _both(getattr(module, name), (rows, columns), *weights)


def _additions() -> Iterator[Case]:
    shapes = (2048, 2048), (2048, 2048)
    yield from _both(tensor_addition.tensor_add, *shapes)
    yield from _both(tensor_addition.tensor_add_spmd[2], *shapes)


def _transposes() -> Iterator[Case]:
    yield from _both(transpose2d.transpose_2d, (2048, 1024))
    yield from _both(transpose2d.transpose_free, (1024, 64, 32))


#: What each page on kernels tells, by the kernels' file.
PAGES: dict[str, tuple[Any, Callable[[], Iterator[Case]]]] = {
    "attention": (attention, _attention),
    "layernorm": (
        layernorm,
        partial(_norms, layernorm, ("layernorm_from_sums", "layernorm"), 2),
    ),
    "mamba": (mamba, _mamba),
    "matrix_multiplication": (matrix_multiplication, _products),
    "rmsnorm": (rmsnorm, partial(_norms, rmsnorm, ("rmsnorm",), 1)),
    "rotary": (rotary, _rotary),
    "softmax": (softmax, lambda: _both(softmax.softmax, (4096, 1024))),
    "tensor_addition": (tensor_addition, _additions),
    "transpose2d": (transpose2d, _transposes),
}


# -- pages -----------------------------------------------------------------------------
def kernels_page(name: str) -> str:
    """The estimates of a file's kernels."""
    module, cases = PAGES[name]
    source = Path(module.__file__).relative_to(ROOT / "nki_simulator")
    head = ("kernel", "arrays", "dtype", "target", "time (estimate)", *ENGINES.values())
    rows = [row for case in cases() for row in _rows(case)]
    table = _table((*head, "instructions", "transferred"), rows)
    return f"# Estimates of `{source.as_posix()}`\n\n{_NOTE}\n{table}"


def _rows(case: Case) -> Iterator[list[str]]:
    cores = as_kernel(case.kernel).lnc or 1
    for chip in _chips():
        if cores not in chip.lnc:
            continue
        reports = case.reports(chip)
        slowest = max(reports, key=lambda report: report.total)
        shares = {
            engine.name: slowest.share(engine) for engine in slowest.schedule.busy
        }
        yield [
            f"`{case.title}`",
            case.configuration,
            case.dtype.name,
            chip.name,
            f"{slowest.total / 1e3:.1f} µs",
            *(f"{shares.get(engine, 0):.0%}" for engine in ENGINES),
            str(sum(len(report.schedule.steps) for report in reports)),
            f"{sum(report.dma_bytes for report in reports) / 2**20:.1f} MiB",
        ]


def model_page() -> str:
    """The estimates of the model that is made of the kernels."""
    head = ("dtype", "target", "time (estimate)", *ENGINES.values())
    rows = [_model_row(dtype, chip) for dtype in (_F32, _BF16) for chip in _chips()]
    return (
        "# Estimates of a decoder's layer\n\n"
        f"`test/integration/model.py`: {model.TOKENS} tokens of {model.WIDTH}, "
        f"{model.HEADS} heads,\na hidden layer of {model.HIDDEN}. Norms, rotary "
        "embedding, attention and products are kernels;\nall else is NumPy's, which "
        f"the cost model of HLO estimates.\n\n{_NOTE}\n{_table(head, rows)}"
    )


def _model_row(dtype: np.dtype, chip: Chip) -> list[str]:
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = chip.name  # which kernels in a program are traced for
    try:
        traced = trace_function(model.decoder_layer, model.arguments(dtype), {})
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before
    found = estimate(traced.module, chip.name)
    shares = (found.busy_ns.get(e, 0) / found.total_ns for e in ENGINES.values())
    time = f"{found.total_ns / 1e3:.1f} µs"
    return [dtype.name, chip.name, time, *(f"{share:.0%}" for share in shares)]


def _chips() -> list[Chip]:
    found = [find_chip(name) for name in TARGETS]
    return [chip for chip in found if chip is not None]


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = list(head)
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


GENERATED: dict[str, Callable[[], str]] = {
    **{
        f"{FOLDER}/micro-benchmark/{name}.md": partial(kernels_page, name)
        for name in PAGES
    },
    f"{FOLDER}/integration/decoder_layer.md": model_page,
}

if __name__ == "__main__":
    sys.exit(main(__doc__ or "", GENERATED))
