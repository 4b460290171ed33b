"""The developer guide adds an op in one short record; this does just that."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.bench_ops import bench_op
from nkipy.core import ops
from nkipy.core.ops import unary
from nkipy.core.ops._coverage import coverage
from nkipy.core.ops._loading import import_all
from nkipy.core.ops._registry import OPS
from nkipy.runtime import simulate_jit
from nkipy.testing import check_error, check_op

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs/dev_guide/adding_ops.md"
SOURCE = ROOT / "nkipy/src/nkipy/core/ops/unary/sampling.py"


@pytest.fixture
def code():
    return re.search(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)[1]


@pytest.fixture
def missing():
    """The registry without `np.sinc`."""
    op = OPS["sinc"]
    op.unregister()
    yield
    op.register()


@pytest.fixture
def sinc(code, missing):
    """The guide's op, added to a registry that lacks it."""
    namespace = {"__name__": "guide"}
    exec(compile(code, "guide.py", "exec"), namespace)
    yield namespace["sinc"]
    namespace["sinc"].unregister()


def test_the_record_is_short_and_the_one_in_use(code):
    assert code == SOURCE.read_text()
    assert len([line for line in code.splitlines() if line.strip()]) < 15


def test_without_it_the_function_is_refused(missing):
    x = np.ones(3, np.float32)
    with pytest.raises(NotImplementedError, match="sinc"):
        simulate_jit(lambda x: np.sinc(x))(x)


def test_numpy_dispatches_to_it(sinc):
    x = np.linspace(-2, 2, 9, dtype=np.float32)
    kernel = simulate_jit(lambda x: np.sinc(x))
    np.testing.assert_allclose(kernel(x), np.sinc(x), rtol=1e-5, atol=1e-6)
    assert "sine" in kernel.hlo(x)


def test_the_oracle_checks_it_in_every_dtype(sinc):
    for dtype in sinc.dtypes:
        check_op(sinc, dtype)


def test_the_oracle_would_notice_a_wrong_result(sinc):
    sinc.composed_impl(lambda x: x * 2)
    with pytest.raises(AssertionError):
        check_op(sinc, np.dtype(np.float32))


def test_mistakes_are_refused(sinc):
    for sample in sinc.errors:
        check_error(sinc, sample)


def test_it_has_a_benchmark_entry_and_a_row_in_the_table(sinc):
    assert bench_op(sinc).what.startswith("sinc")
    row = next(row for row in coverage() if row.name == "sinc")
    assert row.numpy == "sinc" and "float" in row.dtypes


HALVED = '''"""Halves, an op that NumPy lacks."""

from nkipy.core.dtypes import FLOATS
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import unary_sampler

halved = Op(
    "halved",
    dtypes=FLOATS,
    samples=unary_sampler(),
    reference=lambda x: x / 2,
    aliases=["half_of"],
)


@halved.composed_impl
def _halved(x):
    return x * 0.5
'''


@pytest.fixture
def add_file(tmp_path, monkeypatch):
    """Adds a file to the chapter `unary`, as one in its folder would be."""
    names = set(OPS)
    monkeypatch.setattr(unary, "__path__", [*unary.__path__, str(tmp_path)])

    def add(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        import_all(unary.__name__, unary.__path__)  # as for a name that has no file

    yield add
    for name in set(OPS) - names:
        OPS[name].unregister()
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(f"{unary.__name__}.{path.stem}", None)
        vars(unary).pop(path.stem, None)


def test_a_file_in_a_chapter_is_all_that_it_takes(add_file):
    add_file("halving", HALVED)
    from nkipy.core.ops.unary import half_of, halved

    assert halved is half_of is ops.halved is OPS["halved"]
    check_op(halved, np.dtype(np.float32))
    assert next(row for row in coverage() if row.name == "halved").chapter == "unary"
    OPS["halved"].unregister()
    with pytest.raises(AttributeError):
        unary.halved  # noqa: B018


def test_the_guides_op_with_a_lowering_is_its_chapters(add_file):
    add_file("doubling", re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S)[1])
    from nkipy.core.ops.unary import double

    assert double is ops.double and "double" in dir(unary)
    x = np.ones(3, np.float32)
    np.testing.assert_array_equal(simulate_jit(lambda x: double(x))(x), x + x)


def test_a_record_in_a_chapter_without_an_implementation_is_refused(add_file):
    record = "from nkipy.core.ops._registry import Op\nbessel = Op('bessel')\n"
    with pytest.raises(TypeError, match=r"op 'bessel' in .*unfinished\.py has no impl"):
        add_file("unfinished", record)
