"""The engine's process: what it imports, and how much memory it may take."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nkipy.testing import run_python
from tests.support import libnrt

CHILD = {"NKIPY_EMULATOR_ENGINE": "child", "NKIPY_EMULATOR_PYTHON": sys.executable}

# What the child imports, or Python itself before it.
IMPORTED = (
    "nkipy_emulator jaxlib numpy mmap struct nkipy sitecustomize usercustomize"
).split()

EXECUTE = """
    import numpy as np
    from tests.support.nrt_client import Nrt as Client, make_neff
    n = Client()
    x = np.arange(8, dtype=np.float32)
    neff = make_neff(lambda b, x: b.negate(x), x)
    sys.path[:] = [p for p in sys.path if p]
    os.chdir(os.environ["TEST_DIRECTORY"])
    os.environ["PYTHONPATH"] = os.environ["TEST_PATH"]
    with n.running():
        model, out = n.load(neff), n.empty(x.nbytes)
        n.execute(model, n.tensor_set({"x0": n.tensor(x)}),
                  n.tensor_set({"output0": out}))
        print(n.read(out, x.shape, x.dtype).tolist() == (-x).tolist())
"""


def execute_in(directory: Path, path: str, locks: Path) -> None:
    variables = {**CHILD, "NKIPY_EMULATOR_LOCK_DIR": str(locks)}
    done = libnrt.run_python(
        EXECUTE, TEST_DIRECTORY=str(directory), TEST_PATH=path, **variables
    )
    assert done.stdout == "True\n"


def plant(directory: Path, name: str, code: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / f"{name}.py").write_text(code)


@pytest.mark.parametrize("path", ["", ":.:/nowhere:", "../here"])
def test_modules_in_the_current_directory_are_not_taken(tmp_path, path):
    here, marker = tmp_path / "here", tmp_path / "marker"
    for name in IMPORTED:
        plant(here, name, f"open({str(marker)!r}, 'a').write({name!r})")
    taken = run_python("-c", f"import os, sys; os.chdir({str(here)!r}); import nkipy")
    assert taken.returncode == 0 and marker.exists()  # so much for the trap
    marker.unlink()
    execute_in(here, path, tmp_path / "locks")
    assert not marker.exists(), marker.read_text()


def test_modules_of_the_users_are_taken(tmp_path):
    """Absolute directories of PYTHONPATH; and nothing isolates the interpreter."""
    there, marker = tmp_path / "there", tmp_path / "marker"
    tell = "sys.flags.isolated, sys.flags.no_user_site, sys.flags.ignore_environment"
    code = f"import sys; open({str(marker)!r}, 'w').write(repr(({tell})))"
    plant(there, "sitecustomize", code)
    execute_in(tmp_path, f".:{there}:", tmp_path / "locks")
    assert marker.read_text() == "(0, 0, 0)"


GROW = """
import sys
import numpy as np
from nkipy.runtime import baremetal_jit
from spike import NrtError, NrtStatus

@baremetal_jit
def small(x):
    return x * 2

@baremetal_jit
def large(x, y):  # 144 MB to sort
    return np.sum(np.sort(np.matmul(x, y), axis=1), axis=0)

x, a = np.arange(4, dtype=np.float32), np.ones((6144, 8), np.float32)
wanted = [0.0, 2.0, 4.0, 6.0]
assert small(x).tolist() == wanted
for _ in range(int(sys.argv[1])):
    try:
        print(large(a, a.T.copy())[0])
    except NrtError as error:
        print(error.status == NrtStatus.RESOURCE)
    assert small(x).tolist() == wanted  # which was loaded before
    assert small(x[:3]).tolist() == wanted[:3]  # which was not
"""


def grow(tmp_path: Path, calls: int = 2, **variables: str) -> tuple[str, str]:
    env = {
        **CHILD,
        "NKIPY_EMULATOR_LOCK_DIR": str(tmp_path / "locks"),
        "NKIPY_CACHE_DIR": str(tmp_path / "cache"),
        **variables,
    }
    done = run_python("-c", GROW, str(calls), env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_a_child_that_takes_too_much_memory_is_ended_and_the_next_call_works(tmp_path):
    limit = {"NKIPY_EMULATOR_CHILD_MEMORY_BYTES": str(150 << 20)}
    out, log = grow(tmp_path, **limit)
    assert out == "True\nTrue\n"
    assert log.count("of memory and was ended; 150 MB is most") == 2
    assert "NKIPY_EMULATOR_CHILD_MEMORY_BYTES" in log


@pytest.mark.parametrize("limit", ["", pytest.param("0", marks=pytest.mark.slow)])
def test_by_default_it_may_take_most_of_the_machines(tmp_path, limit):
    out, log = grow(tmp_path, calls=1, NKIPY_EMULATOR_CHILD_MEMORY_BYTES=limit)
    assert out == "49152.0\n" and not log
