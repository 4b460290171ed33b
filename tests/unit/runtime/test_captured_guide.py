"""What the guide says of captured state that is not watched, and that it is so.

Such a sentence tells users to pass something as an argument. If it becomes untrue,
the guide is to be mended, and the state belongs in `captured_kinds`.
"""

from __future__ import annotations

import decimal
import math
import sys
import types
import warnings
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from nkipy.runtime import simulate_jit

GUIDE = Path(__file__).parents[3] / "docs" / "user_guide" / "kernels.md"
X = np.ones(2, np.float32)

#: (words of the guide, set-up, expression that a kernel reads, change that it misses)
UNWATCHED = [
    (
        "attributes of metaclasses",
        """
        class Meta(type):
            k = 1.0
        class Made(metaclass=Meta): pass
        """,
        "Made.k",
        "Meta.k = 2.0",
    ),
    (
        "what a module's `__getattr__` makes up",
        """
        module, values = types.ModuleType("m"), {"k": 1.0}
        module.__getattr__ = lambda name: values[name]
        """,
        "module.k",
        "values['k'] = 2.0",
    ),
    (
        "`__subclasses__()`",
        "class Made: pass",
        "float(len(Made.__subclasses__()))",
        "class More(Made): pass",
    ),
    (
        "classes that are registered with an `abc.ABC`",
        """
        import abc
        class Made(abc.ABC): pass
        """,
        "float(issubclass(int, Made))",
        "Made.register(int)",
    ),
    (
        "what `functools.lru_cache` and `functools.cache` have kept",
        """
        import functools
        @functools.lru_cache
        def load(): return [1.0]
        """,
        "load()[0]",
        "load()[0] = 2.0",
    ),
    (
        "memory behind `ctypes`",
        """
        import ctypes
        held = ctypes.c_float(1.0)
        """,
        "held.value",
        "held.value = 2.0",
    ),
    (
        "`io` objects",
        """
        import io
        held = io.BytesIO(b"1")
        """,
        "float(held.getvalue())",
        "held.getbuffer()[0:1] = b'2'",
    ),
    (
        '`globals()[prefix + "scale"]`',
        "my_scale, prefix = 1.0, 'my_'",
        "globals()[prefix + 'scale']",
        "my_scale = 2.0",
    ),
    (
        '`getattr(module, prefix + "scale")`',
        "module, prefix = types.ModuleType('m'), 'my_'; module.my_scale = 1.0",
        "getattr(module, prefix + 'scale')",
        "module.my_scale = 2.0",
    ),
    ('`eval("scale")`', "scale = 1.0", "eval('scale')", "scale = 2.0"),
    ("`math.pi = 3`", "import math", "math.pi", "math.pi = 3"),
    ("`sys.argv`", "import sys", "len(sys.argv)", "sys.argv = [*sys.argv, 'more']"),
    (
        "`np.errstate`",
        "pass",
        "float(np.geterr()['divide'] == 'raise')",
        "np.seterr(divide='raise')",
    ),
    (
        "NumPy's print options",
        "held = np.array([0.125])",
        "len(str(held))",
        "np.set_printoptions(precision=1)",
    ),
    (
        "filters of warnings",
        "import warnings",
        "float(len(warnings.filters))",
        "warnings.simplefilter('ignore', type('New', (Warning,), {}))",
    ),
    (
        "the decimal context",
        "import decimal",
        "float(decimal.Decimal(1) / 3)",
        "decimal.getcontext().prec = 1",
    ),
    (
        "`repr(namespace)`",
        "space = types.SimpleNamespace(k=1.0)",
        "len(repr(space))",
        "space.k = 1234.0",
    ),
    (
        "`pickle.dumps(layer)`",
        """
        import pickle
        layer = types.SimpleNamespace(k=1.0)
        """,
        "len(pickle.dumps(layer))",
        "layer.k = 'a longer value'",
    ),
    # A float32 tells times apart that are below a second.
    ("the clock", "import time", "time.perf_counter() % 1", "pass"),
    (
        "files",
        """
        import pathlib, tempfile
        path = pathlib.Path(tempfile.mkdtemp()) / "scale"
        path.write_text("1")
        """,
        "float(path.read_text())",
        "path.write_text('2')",
    ),
    (
        "the current directory",
        "import os, tempfile; before = os.getcwd(); other = tempfile.mkdtemp()",
        "float(os.getcwd() == before)",
        "os.chdir(other)",
    ),
]


@pytest.fixture(autouse=True)
def restored(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(math, "pi", math.pi)
    monkeypatch.setattr(sys, "argv", sys.argv)
    with (
        decimal.localcontext(),
        np.errstate(),
        np.printoptions(),
        warnings.catch_warnings(),
    ):
        yield


@pytest.mark.parametrize(
    ("words", "setup", "expression", "change"), UNWATCHED, ids=[c[0] for c in UNWATCHED]
)
def test_what_the_guide_says_is_not_watched(words, setup, expression, change):
    assert words in " ".join(GUIDE.read_text().split())
    space = {"np": np, "types": types}
    exec(dedent(setup), space)
    exec(f"def kernel(x): return x * ({expression})", space)
    jitted = simulate_jit(space["kernel"])
    before = jitted(X)
    exec(change, space)
    assert not np.array_equal(space["kernel"](X), before)
    np.testing.assert_array_equal(jitted(X), before)


def test_a_name_that_is_only_an_attribute_captures_no_global():
    space = {"np": np, "T": 1.0, "real": [1.0]}
    exec("def kernel(x): return x.T + x.real", space)
    jitted = simulate_jit(space["kernel"])
    before = jitted._program((X,), {})[0]
    space["T"], space["real"] = 2.0, [2.0]
    del space["np"]
    assert jitted._program((X,), {})[0] is before
