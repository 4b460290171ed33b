"""Files of records are imported when one of their ops is first asked for."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from nkipy.core import ops
from nkipy.core.op_table import OPS
from nkipy.core.ops import _index, _loading, unary
from nkipy.runtime import simulate_jit


def fresh(code: str) -> str:
    """What code writes in a new process."""
    head = """
    import sys
    import numpy as np
    from nkipy.core import ops
    from nkipy.core.op_table import NUMPY_TABLE, OPS, ORIGINALS
    from nkipy.core.ops import _loading
    from nkipy.core.ops._registry import Op
    from nkipy.runtime import simulate_jit

    def is_imported(file):
        return f"nkipy.core.ops.{file}" in sys.modules

    X = np.arange(4, dtype=np.float32)
    """
    code = textwrap.dedent(head) + textwrap.dedent(code)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_only_the_file_of_an_op_is_imported():
    fresh("""
    assert not is_imported("conv.signals")
    kernel = simulate_jit(lambda x: np.convolve(x, x))
    np.testing.assert_array_equal(kernel(X), np.convolve(X, X))
    assert is_imported("conv.signals")
    kernel(X)
    assert kernel.cache_size() == 1

    assert not is_imported("nn.normalization")
    simulate_jit(lambda x: ops.softmax(x))(X)
    assert is_imported("nn.normalization")

    from nkipy.core.ops.sorting import sort
    assert sort is OPS["sort"] is NUMPY_TABLE[np.sort]
    assert ops.mod is OPS["remainder"] is ops.binary.mod
    assert not is_imported("statistics.covariance")
    """)


def test_files_imported_in_a_trace_answer_numpys_own_functions():
    fresh("""
    def kernel(x):
        assert np.linspace in ORIGINALS
        with np.errstate(all="raise"):
            _loading.enter_all()
        return x + 1

    simulate_jit(kernel)(X)
    assert is_imported("statistics.covariance")
    assert np.linspace not in ORIGINALS and NUMPY_TABLE[np.linspace] is ops.linspace
    assert not ORIGINALS.keys() & set(NUMPY_TABLE)
    replaced = set(ORIGINALS.values()) & set(NUMPY_TABLE)
    assert np.full_like in replaced and np.take in replaced
    for op in OPS.values():
        assert op.reference not in ORIGINALS

    def has_replaced(value):
        inside = value if isinstance(value, (tuple, list, set, dict)) else [value]
        return any(any(each is w for w in ORIGINALS) for each in inside)

    for name, module in list(sys.modules.items()):
        if name.startswith("nkipy.core.ops."):
            for value in vars(module).values():
                assert not has_replaced(value), (name, value)
    """)


def test_arrays_that_a_file_makes_in_a_trace_are_plain():
    fresh("""
    def kernel(x):
        assert not is_imported("statistics.order")
        return np.sort(x) + np.median(x)

    simulate_jit(kernel)(X)
    from nkipy.core.ops.statistics import order
    assert type(order._INFINITE) is np.ndarray
    """)


def test_no_thread_finds_an_op_before_its_file_is_read():
    fresh("""
    import threading

    class Slow:
        def find_spec(self, name, path=None, target=None):
            if name == "nkipy.core.ops.statistics.order":
                reading.set()

    sys.meta_path.insert(0, Slow())
    reading, found = threading.Event(), []
    sys.setswitchinterval(1e-6)

    def ask():
        for name in names:
            found.append((name, OPS[name].implementation))

    names = [n for n, f in _loading._index.FILES.items() if f == "statistics.order"]
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert reading.is_set() and len(found) == 8 * len(names)
    assert all(implementation is not None for _, implementation in found)
    """)


def test_names_and_functions_of_files_that_are_not_imported_are_taken():
    fresh("""
    for record in ({"name": "convolve", "samples": iter}, {"numpy": np.sort}):
        try:
            Op(**({"name": "mine"} | record))
        except ValueError as error:
            assert "registered already" in str(error) or "answered by" in str(error)
        else:
            raise AssertionError(record)
    assert "mine" not in OPS
    """)


def test_who_goes_through_the_tables_sees_all():
    out = fresh("print(len(OPS), len(set(OPS)), 'unique' in OPS, 'sort' in OPS)")
    count, names, unknown, known = out.split()
    assert int(count) == int(names) >= len(_index.FILES)
    assert (unknown, known) == ("False", "True")
    listed = fresh("print(*dir(ops)); print(*ops.__all__)").splitlines()
    assert set(listed[1].split()) <= set(listed[0].split())
    assert {"softmax", "mod", "Op"} <= set(listed[1].split())


def test_ops_are_found_where_the_index_is_not_current():
    fresh("""
    files = _loading._index.FILES
    files.update(convolve="conv.gone", correlate="gone.signals", sort="logic.kinds")
    del files["cov"], _loading._index.ANSWERS["median"]
    for function in (np.convolve, np.correlate, np.sort, np.cov, np.median):
        op = NUMPY_TABLE[function]
        assert op is OPS[op.name] is getattr(ops, op.name)
    """)


def test_the_index_leads_to_each_function():
    own = [op for op in OPS.values() if op.module.startswith("nkipy.core.ops.")]
    assert {op.name for op in own} == _index.FILES.keys()
    for op in own:
        for function in op.numpy:
            assert _index.ANSWERS[_loading.name_in_numpy(function)] == op.name


def test_chapters_and_their_files_are_attributes():
    assert ops.nn.softmax is ops.softmax
    assert ops.unary.rounding.__name__ == "nkipy.core.ops.unary.rounding"
    with pytest.raises(AttributeError, match="no attribute 'softmax'"):
        ops.unary.softmax  # noqa: B018


FLAKY = """
import builtins
from nkipy.core.ops._registry import Op

flaky = Op("flaky")
flaky.composed_impl(lambda x: x + 1)
if not hasattr(builtins, "nkipy_flaky"):
    builtins.nkipy_flaky = True
    raise RecursionError("the stack is full")
"""


def test_a_file_that_could_not_be_imported_is_imported_later(tmp_path, monkeypatch):
    import builtins

    (tmp_path / "flakes.py").write_text(FLAKY)
    monkeypatch.setattr(unary, "__path__", [*unary.__path__, str(tmp_path)])
    monkeypatch.setitem(_index.FILES, "flaky", "unary.flakes")
    try:
        with pytest.raises(RecursionError):
            OPS["flaky"]
        x = np.ones(3, np.float32)
        np.testing.assert_array_equal(simulate_jit(lambda x: unary.flaky(x))(x), x + 1)
    finally:
        del builtins.nkipy_flaky
        OPS["flaky"].unregister()
        del sys.modules["nkipy.core.ops.unary.flakes"], unary.flakes
