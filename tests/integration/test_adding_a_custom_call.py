"""The developer guide's package with a custom call, installed; and nothing else."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy.hlo import custom_calls
from nkipy.runtime import baremetal_jit, simulate_jit
from nkipy_emulator import UnsupportedCustomCallError
from nkipy_emulator.compiler import compile_in_process
from nkipy_emulator.cost_model import estimate
from tests.support import nrt_client
from tests.support.libnrt import INVALID
from tests.support.nrt_client import NrtFailure, make_neff
from tests.support.packages import fenced, install_from_guide

GUIDE = Path(__file__).parents[2] / "docs/dev_guide/adding_custom_calls.md"
ENGINES = ("inprocess", "child")
X = np.arange(6, dtype=np.float32).reshape(2, 3)
Y = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
EXPECTED = Y + np.float32(0.5) * X


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The guide's package, for this process and its children."""
    site = tmp_path / "site"
    files = install_from_guide(GUIDE, site)
    assert sorted(files) == ["acme_calls/__init__.py", "acme_calls/ops.py"]
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    yield site
    for name in ("acme_calls", "acme_calls.ops"):
        sys.modules.pop(name, None)
    custom_calls._loaded.clear()


def kernel(x, y):
    from acme_calls.ops import axpy

    return axpy(x * 2, y, 0.25) + 1


def call(b, x, y):
    config = struct.pack("<f", 0.5)
    attributes = {"custom_call_target": "acme.axpy", "backend_config": config}
    return b.emit("custom-call", (x, y), y.shape, y.dtype, attributes)


def test_simulation(package):
    np.testing.assert_array_equal(simulate_jit(kernel)(X, Y), EXPECTED + 1)
    np.testing.assert_array_equal(
        Y, np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    )


@pytest.mark.device
def test_the_device_of_this_process(package):
    np.testing.assert_array_equal(baremetal_jit(kernel)(X, Y), EXPECTED + 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_libnrt(package, tmp_path, engine):
    environment = {"NKIPY_EMULATOR_ENGINE": engine}
    environment["NKIPY_EMULATOR_PYTHON"] = sys.executable
    with nrt_client.session(tmp_path, **environment) as nrt:
        model = nrt.load(make_neff(call, X, Y))
        x, y, out = nrt.tensor(X), nrt.tensor(Y), nrt.empty(X.nbytes)
        inputs = nrt.tensor_set({"x0": x, "x1": y})
        nrt.execute(model, inputs, nrt.tensor_set({"output0": out}))
        np.testing.assert_array_equal(nrt.read(out, X.shape, X.dtype), EXPECTED)
        np.testing.assert_array_equal(nrt.read(y, X.shape, X.dtype), Y)


@pytest.mark.parametrize("engine", ENGINES)
def test_libnrt_without_the_package(tmp_path, engine):
    environment = {"NKIPY_EMULATOR_ENGINE": engine}
    environment["NKIPY_EMULATOR_PYTHON"] = sys.executable
    with nrt_client.session(tmp_path, **environment) as nrt:
        with pytest.raises(NrtFailure) as failure:
            nrt.load(make_neff(call, X, Y))
    assert failure.value.status == INVALID


@pytest.mark.parametrize(("target", "code"), [("trn1", 70), ("trn2", 0)])
def test_the_check_refuses_per_target(package, tmp_path, target, code):
    module = nrt_client.make_module(call, X.astype(np.int32), Y.astype(np.int32))
    (tmp_path / "m.pb").write_bytes(module.serialize())
    options = ["--framework", "XLA", "--target", target, "--lnc", "1"]
    done = compile_in_process(["compile", "m.pb", *options], tmp_path)
    assert done.returncode == code
    said = b"[NCC_EVRF013] acme.axpy on trn1 takes float32, and received int32"
    assert (said in done.stderr) == (target == "trn1")


def test_shapes_that_differ_are_refused(package, tmp_path):
    with pytest.raises(ValueError, match=r"axpy takes.* f32\[2,3\] and f32\[3\]"):
        simulate_jit(kernel)(X, Y[0])
    module = nrt_client.make_module(call, X[0], Y)
    (tmp_path / "m.pb").write_bytes(module.serialize())
    options = ["--framework", "XLA", "--target", "trn2", "--lnc", "1"]
    done = compile_in_process(["compile", "m.pb", *options], tmp_path)
    assert done.returncode == 70
    assert b"received f32[3], f32[2,3] for f32[2,3]" in done.stderr


@pytest.mark.slow
def test_the_package_builds_by_its_own_pyproject(tmp_path):
    for path, text in fenced(GUIDE).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    uv = os.environ.get("UV") or shutil.which("uv")  # `uv run` sets UV
    assert uv, "run the tests with `uv run pytest`"
    command = [uv, "build", "--wheel", "--python", sys.executable, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").glob("acme_calls-1.0-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry,) = (n for n in names if n.endswith("entry_points.txt"))
        assert b"acme.axpy = acme_calls:AXPY" in archive.read(entry)
    assert {"acme_calls/__init__.py", "acme_calls/ops.py"} <= set(names)


def test_it_is_costed_as_the_record_says(package):
    result = estimate(nrt_client.make_module(call, X, Y), launch_ns=0)
    assert result.notes == ()
    (event,) = (e for e in result.events if e.opcode == "custom-call")
    assert event.engine == "VectorE" and event.duration_ns > 0


def test_its_version_is_of_the_hash(package, monkeypatch):
    module = trace_function(kernel, [X, Y], {}).module
    first = module.content_hash()
    record = custom_calls.find("acme.axpy")
    object.__setattr__(record, "version", "2")
    assert module.content_hash() != first


def test_without_the_package_the_error_says_what_adds_it():
    module = nrt_client.make_module(call, X, Y)
    with pytest.raises(UnsupportedCustomCallError, match="nkipy.custom_calls"):
        from nkipy_emulator.engine import XlaCpuEngine

        XlaCpuEngine().compile(module)


def test_a_package_that_is_broken_is_named(package, tmp_path):
    (package / "acme_calls/__init__.py").write_text("raise OSError('no licence')\n")
    module = nrt_client.make_module(call, X, Y)
    (tmp_path / "m.pb").write_bytes(module.serialize())
    done = compile_in_process(
        ["compile", "m.pb", "--framework", "XLA", "--target", "trn2"], tmp_path
    )
    text = done.stderr.decode()
    assert done.returncode == 70 and "[NKIPY_EMU002]" in text
    assert "acme-calls 1.0) cannot be loaded: OSError: no licence" in text
