"""What `import torch` and `import spike_torch` do, and what keeps them from it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from . import programs

SAY = "import torch, sys; print(torch._C._get_privateuse1_backend_name())\n"


def run(
    code: str, tmp_path: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    return programs.run(code, programs.machine(tmp_path, **variables))


def test_torch_alone_registers_the_device_and_opens_nothing(tmp_path: Path) -> None:
    code = "import sys, torch\nprint(torch.nkipy.is_initialized())\n"
    # What only those need who share tensors with spike, or open the runtime.
    code += "print({'ml_dtypes', 'spike.spike_singleton'} & {*sys.modules})\n"
    code += "torch.ones(3, device='nkipy')\nprint(torch.nkipy.is_initialized())\n"
    done = run(code, tmp_path)
    assert (done.returncode, done.stdout) == (0, "False\nset()\nTrue\n"), done.stderr


def test_importing_it_opens_the_runtime(tmp_path: Path) -> None:
    done = run("import spike_torch, spike\nprint(spike_torch._C.is_open())", tmp_path)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_what_is_loaded_later_is_there() -> None:
    import spike_torch

    for name in spike_torch.__all__:
        assert name in dir(spike_torch)
        assert getattr(spike_torch, name) is not None
    with pytest.raises(
        AttributeError, match="'spike_torch' has no attribute 'nothing'"
    ):
        spike_torch.nothing()


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
        pytest.param(
            "import sys, types\n"
            "built = types.ModuleType('spike_torch._built')\n"
            "built.TORCH_VERSION = '1.13.0'\n"
            "sys.modules['spike_torch._built'] = built\n",
            "was built for torch 1.13.0, and this is torch 2.",
            marks=pytest.mark.slow,
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


@pytest.mark.slow
def test_a_variable_that_is_none_is_named(tmp_path: Path) -> None:
    code = "import spike_torch"
    done = run(
        code, tmp_path, NKIPY_TORCH_FALLBACK="loud", TORCH_DEVICE_BACKEND_AUTOLOAD="0"
    )
    assert (
        "NKIPY_TORCH_FALLBACK is one of log, warn, silent, error: 'loud'" in done.stderr
    )


ONE_AFTER_ANOTHER = """
import importlib.util, os, pathlib, sys, types, warnings
import torch
from spike_torch_autoload import autoload

def built(version):
    module = types.ModuleType("spike_torch._built")
    module.TORCH_VERSION = version
    return module

class Broken:
    def find_spec(name, path, target=None):
        if name == "spike_torch._C":
            return importlib.util.spec_from_file_location(name, sys.argv[1])

pathlib.Path(sys.argv[1]).write_bytes(b"no library")
causes = {
    "import of spike halted": {"spike": None},
    "extension is not built": {"spike_torch._built": None},
    "was built for torch 2.1.0, and this is torch": {
        "spike_torch._built": built("2.1.0")
    },
    "no_such_libnrt.so": dict(SPIKE_LIBNRT="/no_such_libnrt.so"),
    "extension cannot be loaded": Broken,
    "NKIPY_TORCH_FALLBACK is one of": dict(NKIPY_TORCH_FALLBACK="loud"),
}
for cause, change in causes.items():
    if change is Broken:
        sys.meta_path.insert(0, Broken)
    elif all(name.isupper() for name in change):
        os.environ.update(change)
    else:
        sys.modules.update(change)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        autoload()
    texts = [str(w.message) for w in said if w.category is RuntimeWarning]
    assert len(texts) == 1, (cause, texts)
    text = texts[0]
    assert cause in text and "TORCH_DEVICE_BACKEND_AUTOLOAD=0" in text, text
    assert torch._C._get_privateuse1_backend_name() == "privateuseone"
    assert not hasattr(torch, "nkipy") and torch.ones(2).sum() == 2
    if change is Broken:
        sys.meta_path.remove(Broken)
    elif all(name.isupper() for name in change):
        [os.environ.pop(name) for name in change]
    for name in list(sys.modules):
        if name.startswith("spike_torch.") or name == "spike_torch":
            del sys.modules[name]
    if sys.modules.get("spike", torch) is None:
        del sys.modules["spike"]
autoload()
assert torch.ones(3, device="nkipy").sum().item() == 3
print("loaded")
"""


def test_each_cause_is_one_warning_and_the_next_attempt_may_succeed(
    tmp_path: Path,
) -> None:
    code = f"import sys\nsys.argv = ['', {str(tmp_path / '_C.so')!r}]\n"
    done = run(code + ONE_AFTER_ANOTHER, tmp_path, TORCH_DEVICE_BACKEND_AUTOLOAD="0")
    assert (done.returncode, done.stdout) == (0, "loaded\n"), done.stderr


@pytest.mark.slow
def test_kernels_of_another_package_are_a_device_that_is_taken(tmp_path: Path) -> None:
    """Registering one's own beside them would end the process."""
    code = (
        "import torch\n"
        "library = torch.library.Library('_', 'IMPL', 'PrivateUse1')\n"
        "library.fallback(lambda *args: None)\n"
        "from spike_torch_autoload import autoload\nautoload()\n"
    )
    done = run(code + SAY, tmp_path, TORCH_DEVICE_BACKEND_AUTOLOAD="0")
    assert (done.returncode, done.stdout) == (0, "privateuseone\n"), done.stderr
    assert "has registered torch's private device" in done.stderr


@pytest.mark.slow
def test_where_warnings_are_errors_torch_goes_on(tmp_path: Path) -> None:
    code = "import warnings\nwarnings.simplefilter('error', RuntimeWarning)\n" + SAY
    done = run(code, tmp_path, SPIKE_LIBNRT="/no_such_libnrt.so")
    assert (done.returncode, done.stdout) == (0, "privateuseone\n"), done.stderr
    assert "no_such_libnrt.so" in done.stderr and "AUTOLOAD=0" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("imports", ["spike_torch, torch", "torch, spike_torch"])
def test_a_rank_takes_its_core_before_the_first_tensor(
    tmp_path: Path, imports: str
) -> None:
    code = f"import {imports}\nprint(torch.nkipy.device_count())\n"
    code += "print(torch.ones(1, device='nkipy').device, os.environ[VISIBLE])\n"
    variables = {"LOCAL_RANK": "1", "NEURON_RT_NUM_CORES": ""}
    done = run(
        "import os\nos.environ.pop('NEURON_RT_VISIBLE_CORES', None)\n"
        "os.environ.pop('NEURON_RT_NUM_CORES', None)\n"
        "VISIBLE = 'NEURON_RT_VISIBLE_CORES'\n" + code,
        tmp_path,
        **variables,
    )
    assert (done.returncode, done.stdout) == (0, "1\nnkipy:0 1\n"), done.stderr


@pytest.mark.slow
def test_a_rank_that_is_empty_is_none(tmp_path: Path) -> None:
    code = "import os\nos.environ.pop('NEURON_RT_VISIBLE_CORES', None)\n"
    code += "import torch\nprint(torch.nkipy.device_count() > 1)\n"
    done = run(code, tmp_path, LOCAL_RANK="")
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
