"""Commands: options, versions, and output that nobody reads or that has no place."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import nkipy
from nkipy.command_line import run_command
from nkipy_emulator.compiler.options import _WITHOUT_EFFECT, explained_options

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(sysconfig.get_path("scripts"))
COMMANDS = {
    "nkipy": [sys.executable, "-m", "nkipy"],
    "spike": [sys.executable, "-m", "spike"],
    "spike-run": [str(SCRIPTS / "spike-run")],
    "nkipy-neuronx-cc": [str(SCRIPTS / "nkipy-neuronx-cc")],
    "libnrt": [sys.executable, "-m", "nkipy_emulator.libnrt"],
    "cost_model": [sys.executable, "-m", "nkipy_emulator.cost_model"],
    "run.py": [sys.executable, str(ROOT / "run.py")],
}


def call(name: str, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [*COMMANDS[name], *arguments]
    return subprocess.run(command, capture_output=True, text=True, **options)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_version_is_ours(name: str) -> None:
    done = call(name, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert nkipy.__version__ in done.stdout.splitlines()[0]


@pytest.mark.parametrize("name", ["nkipy", "spike-run", "cost_model", "run.py"])
def test_help_is_output(name: str) -> None:
    done = call(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--version" in done.stdout or name == "run.py"


def test_every_option_of_the_compile_command_is_explained() -> None:
    lines = explained_options()
    options = [i for i, line in enumerate(lines) if line.startswith("  --")]
    assert len(options) > 12
    for i in options:
        assert lines[i + 1].startswith(8 * " ") and len(lines[i + 1]) > 16
        assert "{" not in lines[i + 1]
        assert lines[i].split()[0].rstrip(",") not in _WITHOUT_EFFECT


def test_an_option_like_one_that_there_is() -> None:
    done = call("nkipy-neuronx-cc", "--hepl")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "[ERROR] unknown option --hepl; did you mean --help?\n"


# -- where the output goes -------------------------------------------------------------
PRINTS = """
import sys
from nkipy.command_line import run_command
def main():
    print("x" * {length})
    return {status}
sys.exit(run_command(main, "prog"))
"""


def end(shell: str, length: int = 1, status: int = 0) -> tuple[int, str]:
    """How a program ends in a shell's line, PROG; and what it says of it."""
    program = PRINTS.format(length=length, status=status)
    done = subprocess.run(
        ["bash", "-c", shell.replace("PROG", '"$0" -c "$1"'), sys.executable, program],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    return done.returncode, done.stderr


GONE = "set -o pipefail; (sleep 0.3; PROG) | true"


@pytest.mark.parametrize(
    ("shell", "length", "status", "ends"),
    [
        (GONE, 1, 0, 141),
        (GONE, 100_000, 0, 141),
        ("PROG >&-", 1, 3, 3),
        ("PROG >&- 2>&-", 100_000, 0, 0),
    ],
)
def test_a_closed_output_is_no_error(
    shell: str, length: int, status: int, ends: int
) -> None:
    assert end(shell, length, status) == (ends, "")


@pytest.mark.parametrize("name", ["nkipy", "spike-run", "run.py"])
def test_help_that_nobody_reads_ends_quietly(name: str) -> None:
    shell = 'set -o pipefail; (sleep 0.3; "$@" --help) | true'
    done = subprocess.run(
        ["bash", "-c", shell, "bash", *COMMANDS[name]], capture_output=True, text=True
    )
    assert done.stderr == "" and done.returncode in (0, 141)  # argparse says 0


def test_help_that_has_no_place_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        command = [*COMMANDS["run.py"], "--help"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    said = "run.py: error: the output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("length", [1, 100_000])
def test_a_full_disk_is_one_line(length: int, unbuffered: str) -> None:
    said = "prog: error: the output cannot be written: No space left on device\n"
    shell = f"PYTHONUNBUFFERED={unbuffered} PROG >/dev/full"
    assert end(shell, length) == (1, said)


def test_a_full_disk_hides_no_other_failure() -> None:
    assert end("PYTHONUNBUFFERED= PROG >/dev/full", 1, status=3)[0] == 3


def test_ctrl_c_is_no_traceback() -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert run_command(interrupted, "prog") == 130


@pytest.mark.parametrize(
    ("code", "status"), [(None, 0), (0, 0), (2, 2), ("what is wrong", 1)]
)
def test_exits_keep_their_status(code: object, status: int, capsys) -> None:
    def ends() -> int:
        raise SystemExit(code)

    assert run_command(ends, "prog") == status
    assert capsys.readouterr().err == (f"{code}\n" if status == 1 else "")


def test_names_that_the_terminal_cannot_show_are_escaped() -> None:
    code = "import sys; from nkipy.command_line import run_command\n"
    code += "sys.exit(run_command(lambda: print('gr\\u00f6\\u00dfe \\u6f22'), 'prog'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONIOENCODING": "latin-1:strict"},
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"gr\xf6\xdfe \\u6f22\n"


def test_spikes_copy_is_current() -> None:
    tool = [sys.executable, "-I", str(ROOT / "tools/generate_command_line.py")]
    done = subprocess.run([*tool, "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("name", "options"),
    [("spike-run", []), ("spike-run", ["--info"]), ("cost_model", [])],
)
def test_a_named_pipe_is_refused_and_not_waited_for(name, options, tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.neff")
    done = call(name, *options, str(tmp_path / "pipe.neff"), timeout=60)
    assert done.returncode == 1
    assert "regular file" in done.stderr and "pipe.neff" in done.stderr
