"""``python -m nkipy_nki check``: what is told of a script's kernels, exit statuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nkipy_nki.__main__ import main
from nkipy_nki.findings import FINDINGS, JSON_VERSION, REFUSED

COMMAND = sys.executable, "-m", "nkipy_nki", "check"
HEAD = """
import sys
import numpy as np
import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl

x = np.ones((128, 64), np.float32)
print("the script prints")


@nki.jit
def kernel(x, rows, region, axes):
    result = nl.ndarray(x.shape, x.dtype, buffer=region)
    tile = nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile[:rows], x[:rows])
    tile.permute(axes)
    nisa.dma_copy(result, tile)  # read
    return result


"""
SOUND = "kernel(x, 128, nl.shared_hbm, (0, 1))"
WARNED = "kernel(x, 128, nl.private_hbm, (0, 1))"
BROKEN = "kernel(x, 64, nl.private_hbm, (0, 1))"
REFUSED_VIEW = "kernel(x, 128, nl.shared_hbm, (1, 0))"


def written(folder: Path, calls: str) -> str:
    """A script that makes calls of the kernel."""
    script = folder / "script.py"
    script.write_text(HEAD + calls + "\n")
    return str(script)


@pytest.fixture
def _interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give back what a script's run changes."""
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.usefixtures("_interpreter")
@pytest.mark.parametrize(
    "calls, options, status",
    [
        (SOUND, (), 0),
        (WARNED, (), 0),
        (WARNED, ("--strict",), 1),
        (f"{BROKEN}\n{SOUND}", (), 1),
        ("raise ValueError('its own')", (), 3),
        ("sys.exit(0)", (), 3),  # no kernel was run
    ],
)
def test_exit_statuses(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    calls: str,
    options: tuple[str, ...],
    status: int,
) -> None:
    assert main(["check", *options, written(tmp_path, calls)]) == status
    assert capsys.readouterr().out.startswith("the script prints\n")


def test_all_findings_are_told_as_json(tmp_path: Path) -> None:
    calls = f"{BROKEN}\n{BROKEN}\n{REFUSED_VIEW}\n{SOUND}"
    done = subprocess.run(
        [*COMMAND, "--json", written(tmp_path, calls)], capture_output=True, text=True
    )
    assert done.returncode == 1 and "the script prints" in done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["version"] == JSON_VERSION and told["status"] == 1
    assert told["kernels"] == ["kernel"]
    assert (told["errors"], told["warnings"]) == (2, 1)
    assert told["failure"].startswith("NkiValidationError: permute((1, 0))")
    lines = (HEAD + calls).splitlines()
    places = {
        "uninitialized-read": "# read",
        "private-result": "result = nl.ndarray",
        REFUSED: "tile.permute",
    }
    assert [found["kind"] for found in told["findings"]] == list(places)
    for found in told["findings"]:
        assert found["kind"] in FINDINGS or found["kind"] == REFUSED
        assert places[found["kind"]] in lines[found["line"] - 1]
        assert found["file"] == str(tmp_path / "script.py")
    (read,) = (f for f in told["findings"] if f["kind"] == "uninitialized-read")
    assert read["details"]["missing"] == 64 * 64


CAUGHT = """
import nkipy_nki.neuronxcc.nki as first
import nkipy_nki.neuronxcc.nki.language as fl


def body(change):
    def kernel(x):
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        tile = nl.ndarray(x.shape, x.dtype)
        nisa.dma_copy(tile, x)
        change(tile)
        nisa.dma_copy(result, tile)
        return result

    return nki.jit(kernel)


@first.jit
def indexed(x):
    tile = fl.load(x)
    return fl.exp(tile[fl.arange(4), 0])  # err_1d_arange_not_supported


refused = [
    lambda t: t + t,  # refused
    lambda t: t.ap([[3, 128], [1, 64]]),  # refused
    lambda t: nl.ndarray((128, 4), "floaty"),  # refused
    lambda t: nl.ndarray((128, -4), nl.float32),  # refused
    lambda t: nl.ndarray((128, 4), nl.float32, buffer="sbuf2"),  # refused
    lambda t: t[nisa.register_alloc(3) : 5],  # refused
    lambda t: nl.load(nl.ndarray((256, 4), nl.float32, buffer=nl.hbm)),  # refused
]
for function in [*map(body, refused), indexed]:
    try:
        function(x)
    except Exception:
        pass
try:
    kernel(x.astype(np.int64), 128, nl.shared_hbm, (0, 1))  # refused
except Exception:
    pass
"""


def test_what_a_script_catches_is_told_with_its_kind(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--json", written(tmp_path, CAUGHT)], capture_output=True, text=True
    )
    told: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode, told["status"], told["failure"]) == (1, 1, None)
    expected = [
        (number, line.rpartition("# ")[2])
        for number, line in enumerate((HEAD + CAUGHT).splitlines(), 1)
        if line.endswith(("# refused", "_supported"))
    ]
    found = [(found["line"], found["kind"]) for found in told["findings"]]
    assert sorted(found) == expected and len(expected) == told["errors"] == 9


@pytest.mark.usefixtures("_interpreter")
def test_text_has_a_line_for_each_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["check", written(tmp_path, BROKEN)])
    _, error, warning, total = capsys.readouterr().out.splitlines()
    assert "script.py:18: error: dma_copy: src reads 4096" in error
    assert warning.endswith("[private-result]")
    assert total == "1 error, 1 warning in kernels: kernel"


@pytest.mark.parametrize(
    "arguments", [[], ["what"], ["check"], ["check", "no.py"], ["check", "--all", "."]]
)
def test_a_misuse_is_told(arguments: list[str]) -> None:
    assert main(arguments) == 2


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["check", "--help"]])
def test_help_is_no_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    told = capsys.readouterr()
    assert told.out.startswith("Runs a script") and not told.err


def test_a_module_is_checked(tmp_path: Path) -> None:
    (tmp_path / "some_kernels.py").write_text(HEAD + SOUND)
    done = subprocess.run(
        [*COMMAND, "-m", "some_kernels", "--an-argument"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


_STARTS = {
    "fork": ("os.waitpid(os.fork() or os._exit(0), 0)", ["fork"]),
    "system": ("os.system('true')", ["true"]),
    "subprocess": ("subprocess.run(['/bin/true', 'x'])", ["true"]),
    "shell": ("subprocess.run('true; true', shell=True)", ["sh"]),
    "spawn": ("os.posix_spawn('/bin/true', ['true'], {})", ["true"]),
    "none": ("import json", []),
}


@pytest.mark.usefixtures("_interpreter")
@pytest.mark.parametrize("kind", _STARTS)
def test_processes_that_a_script_starts_are_told(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    statement, names = _STARTS[kind]
    script = written(tmp_path, f"import os, subprocess\n{statement}\n{SOUND}")
    assert main(["check", "--json", script]) == 0
    told = capfd.readouterr().out
    assert json.loads(told[told.index("{") :])["processes"] == names
    assert main(["check", script]) == 0
    note = "kernels that those ran were not checked"
    assert (note in capfd.readouterr().out) == bool(names)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing_are_told(method: str, tmp_path: Path) -> None:
    calls = f"""
import multiprocessing
if __name__ == "__main__":
    process = multiprocessing.get_context({method!r}).Process(target=print)
    process.start()
    process.join()
    {SOUND}
"""
    script = written(tmp_path, calls)
    done = subprocess.run([*COMMAND, "--json", script], capture_output=True, text=True)
    assert "multiprocessing" in json.loads(done.stdout)["processes"], done.stderr
    assert done.returncode == 0
