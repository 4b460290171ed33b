"""The module that touches jaxlib: versions, and keeping jax out."""

from __future__ import annotations

import ast
import ctypes
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

import nkipy_emulator
from nkipy_emulator import _xla
from nkipy_emulator.errors import EngineUnavailableError, SimulationError


@pytest.mark.parametrize("version", ["0.6.2", "0.7.0", "0.10.2", "0.11.0", "0.11.9"])
def test_known_versions(version):
    _xla.check_version(version)


@pytest.mark.parametrize("version", ["0.4.38", "0.6.1", "0.12.0", "1.0"])
def test_unknown_versions_are_named(version):
    with pytest.raises(EngineUnavailableError) as error:
        _xla.check_version(version)
    for text in (version, "0.6.2", "0.11"):
        assert text in str(error.value)


def test_one_module_touches_jaxlib():
    users = set()
    for path in Path(nkipy_emulator.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.split(".")[0] in ("jax", "jaxlib") for name in names):
                users.add(path.name)
    assert users == {"_xla.py"}


SCRIPT = """
    import sys
    import numpy as np
    import nkipy_emulator
    assert not any(m.split(".")[0] == "jaxlib" for m in sys.modules)
    from nkipy.hlo.ir import HLOInstruction, HLOModule
    module = HLOModule("m")
    p = module.add_parameter((4,), np.float32, "x")
    add = HLOInstruction("add", (p, p), (4,), p.dtype)
    module.set_results(module.add_operation(add))
    x, out = np.ones(4, np.float32), np.empty(4, np.float32)
    engine = nkipy_emulator.XlaCpuEngine()
    engine.compile(module).run([x], [out])
    engine.compile(module, num_replicas=2).run_replicas([[x]] * 2, [[out], [x]])
    assert (out == 2).all()
    assert not any(m.split(".")[0] == "jax" for m in sys.modules)
"""


def test_jax_is_not_imported_and_nothing_is_printed():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_c_code_that_makes_an_array_finds_no_jax_and_everyone_else_does(monkeypatch):
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    import_in_c = ctypes.PyDLL(None).PyImport_ImportModule
    import_in_c.argtypes, import_in_c.restype = [ctypes.c_char_p], ctypes.py_object
    for name in (b"jax", b"jax.core"):
        with pytest.raises(ModuleNotFoundError, match="not wanted"):
            _xla._call_without_jax(import_in_c, name)
    assert "jax" not in sys.modules
    for module in (np.testing, subprocess):
        name = module.__name__.encode()
        assert _xla._call_without_jax(import_in_c, name) is module
    monkeypatch.setitem(sys.modules, "jax", textwrap)
    assert _xla._call_without_jax(import_in_c, b"jax") is textwrap


def test_garbage_is_refused():
    with pytest.raises(SimulationError):
        _xla.compile_proto(b"\x0agarbage")


def test_compiling_in_several_threads(module_of):
    x = np.ones(4, np.float32)
    protos = [
        module_of(lambda b, p, i=i: b.iota((2, i + 1), 0), x).serialize()
        for i in range(4)
    ]
    errors: list[Exception] = []

    def work(proto: bytes) -> None:
        try:
            _xla.compile_proto(proto)
        except Exception as e:
            errors.append(e)

    threads = [threading.Thread(target=work, args=(p,)) for p in protos]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
