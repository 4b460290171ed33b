"""What the refusal of ``x[mask]`` says to write does what the line would have done."""

from __future__ import annotations

from pathlib import Path
from types import FunctionType

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy.testing import check_kernel

X = np.arange(1, 13, dtype=np.float32).reshape(3, 4) - 4
M = (X.astype(np.int32) % 3) > 0

#: Statements, and what to write in their place.
STORES = {
    "x[m] += 2": "x[...] = np.where(m, x + 2, x)",
    "x[~m] *= -2.5": "x[...] = np.where(~m, x * -2.5, x)",
    "x[x < y] /= 4": "x[...] = np.where(x < y, x / 4, x)",
    "x[m] = np.exp(-x[m])": "x[...] = np.where(m, np.exp(-x), x)",
    "x[m] = y[m] + x[m] * 2": "x[...] = np.where(m, y + x * 2, x)",
    "if True: x[m] -= 1": "x[...] = np.where(m, x - 1, x)",
}
#: Expressions of a selection.
REDUCTIONS = {
    **{
        f"{name}": f"np.{name}(x, where=m)"
        for name in ("sum", "mean", "prod", "std", "var", "any", "all")
    },
    "max": "np.max(x, where=m, initial=np.nanmin(x))",
    "min": "np.min(x, where=m, initial=np.nanmax(x))",
}
VALUES = {
    **{f"x[m].{name}()": text for name, text in REDUCTIONS.items()},
    **{f"np.{name}(x[m])": text for name, text in REDUCTIONS.items()},
    "x[m].size + y[0, 0]": "np.count_nonzero(m)",
    "len(x[m])": "np.count_nonzero(m)",
    "x[x > y].sum() * 2": "np.sum(x, where=x > y)",
    "x[m].sum() / y[m].sum()": "np.sum(x, where=m) and write np.sum(y, where=m)",
}
#: What has no other words for it, or takes more than the selection.
KEPT = (
    *("np.sort(x[m])", "np.median(x[m])", "x[m].argmax()", "x[m].std(ddof=1)"),
    *("np.percentile(x[m], 50)", "np.var(x[m], ddof=1)", "x[m].sum(0)"),
)
GENERAL = "keep the shape with np.where(mask, x, 0), reduce with np.sum(x, where=mask)"


def kernel_of(line: str, directory: Path) -> FunctionType:
    """A kernel whose line can be looked up, as a user's can."""
    file = directory / "kernels.py"
    file.write_text(f"def kernel(x, m, y):\n    {line}\n    return x\n")
    space = {"np": np}
    exec(compile(file.read_text(), str(file), "exec"), space)
    return space["kernel"]  # type: ignore[return-value]


def refusal(line: str, directory: Path) -> str:
    with pytest.raises(NotImplementedError, match="not known while tracing") as caught:
        trace_function(kernel_of(line, directory), (X, M, X + 1), {})
    return str(caught.value)


@pytest.mark.parametrize("line", STORES)
def test_a_store(line, tmp_path):
    assert f"; write {STORES[line]}\n" in refusal(line, tmp_path)


@pytest.mark.parametrize("value", VALUES)
def test_a_value(value, tmp_path):
    assert f"; write {VALUES[value]}\n" in refusal(f"return {value}", tmp_path)


@pytest.mark.parametrize("value", KEPT)
def test_no_line_that_gives_something_else_is_said(value, tmp_path):
    told = refusal(f"return {value}", tmp_path)
    assert "write" not in told and "keep the shape with np.where(m" in told


def test_what_is_said_is_what_the_lines_do(tmp_path):
    plain, advised = (
        kernel_of("\n    ".join(lines), tmp_path) for lines in (STORES, STORES.values())
    )
    check_kernel(advised, X, M, X + 1, reference=plain)


@pytest.mark.slow
def test_values_that_are_said_are_what_the_lines_give(tmp_path):
    exact = {v: t for v, t in VALUES.items() if "y" not in v}
    plain = kernel_of(f"return {', '.join(exact)}", tmp_path)
    advised = kernel_of(f"return {', '.join(exact.values())}", tmp_path)
    unselected = np.where(M, X, np.nan).astype(np.float32)
    for x, mask in ((X, M), (X, X > 7), (X, np.ones_like(M)), (unselected, M)):
        check_kernel(advised, x, mask, x, reference=plain)


@pytest.mark.parametrize(
    "line",
    [
        "return x[m, None]",
        "return x[m[0, :3]]",
        "return x[m] + x[x > 0]",
        "x[m] += y[0] + x[m]",  # may be one value for each that is selected
        "x[m] -= x[m].mean()",
        "x[m] = np.sort(x[m])",
        "return (x[m]",
        "return x[np.array([0, 1])][m[:2]] + y[m]",
    ],
)
def test_a_line_that_does_not_tell_the_mask(line, tmp_path):
    if line.count("(") > line.count(")"):
        line += "\n    )"
    assert GENERAL in refusal(line, tmp_path)


def test_a_line_that_nobody_can_look_up():
    space: dict = {}
    exec("def kernel(x, m): return x[m]", space)
    with pytest.raises(NotImplementedError, match="keep the shape with"):
        trace_function(space["kernel"], (X, M), {})
