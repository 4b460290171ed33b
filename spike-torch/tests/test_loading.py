"""What `import torch` and `import spike_torch` do, and what keeps them from it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAY = "import torch, sys; print(torch._C._get_privateuse1_backend_name())\n"


def run(
    code: str, tmp_path: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    tmp_path.chmod(0o700)
    environment = {**os.environ, "NKIPY_EMULATOR_LOCK_DIR": str(tmp_path), **variables}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_torch_alone_registers_the_device_and_opens_nothing(tmp_path: Path) -> None:
    code = "import torch\nprint(torch.nkipy.is_initialized())\n"
    code += "torch.ones(3, device='nkipy')\nprint(torch.nkipy.is_initialized())\n"
    done = run(code, tmp_path)
    assert (done.returncode, done.stdout) == (0, "False\nTrue\n"), done.stderr


def test_importing_it_opens_the_runtime(tmp_path: Path) -> None:
    done = run("import spike_torch, spike\nprint(spike_torch._C.is_open())", tmp_path)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_autoload_can_be_switched_off(tmp_path: Path) -> None:
    done = run(SAY, tmp_path, TORCH_DEVICE_BACKEND_AUTOLOAD="0")
    assert done.stdout == "privateuseone\n"


@pytest.mark.parametrize(
    ("before", "cause"),
    [
        (
            "import torch; torch.utils.rename_privateuse1_backend('other')\n",
            'registered torch\'s private device, as "other"',
        ),
        (
            "import sys, types\n"
            "built = types.ModuleType('spike_torch._built')\n"
            "built.TORCH_VERSION = '1.13.0'\n"
            "sys.modules['spike_torch._built'] = built\n",
            "was built for torch 1.13.0, and this is torch 2.",
        ),
    ],
)
def test_what_keeps_it_from_loading_is_one_warning(
    tmp_path: Path, before: str, cause: str
) -> None:
    code = before + "from spike_torch_autoload import autoload\nautoload()\n" + SAY
    done = run(code, tmp_path, TORCH_DEVICE_BACKEND_AUTOLOAD="0")
    assert done.returncode == 0, done.stderr
    assert done.stdout in ("privateuseone\n", "other\n")
    assert cause in done.stderr and "TORCH_DEVICE_BACKEND_AUTOLOAD=0" in done.stderr
    assert done.stderr.count("RuntimeWarning") == 1
    asked = run(
        before + "import spike_torch", tmp_path, TORCH_DEVICE_BACKEND_AUTOLOAD="0"
    )
    assert "ImportError" in asked.stderr and cause in asked.stderr


def test_a_missing_libnrt_leaves_torch_as_it_is(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "libnrt.so.1")
    done = run("import torch\n" + SAY, tmp_path, SPIKE_LIBNRT=nowhere)
    assert (done.returncode, done.stdout) == (0, "privateuseone\n"), done.stderr
    assert done.stderr.count("RuntimeWarning") == 1 and nowhere in done.stderr
    asked = run(
        "import spike_torch",
        tmp_path,
        SPIKE_LIBNRT=nowhere,
        TORCH_DEVICE_BACKEND_AUTOLOAD="0",
    )
    assert "ImportError" in asked.stderr and nowhere in asked.stderr


def test_a_variable_that_is_none_is_named(tmp_path: Path) -> None:
    code = "import spike_torch"
    done = run(
        code, tmp_path, NKIPY_TORCH_FALLBACK="loud", TORCH_DEVICE_BACKEND_AUTOLOAD="0"
    )
    assert "NKIPY_TORCH_FALLBACK is one of silent, warn, error: 'loud'" in done.stderr
