"""One process compiles what several want at the same time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nkipy_emulator.code_turns import turn

KEY, OTHER_KEY = "ab" * 32, "cd" * 32
HOLDER = """
import sys, time
from pathlib import Path
from nkipy_emulator.code_turns import turn
with turn(Path(sys.argv[1]), sys.argv[2], None) as others_had_it:
    print(others_had_it, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "code"


@pytest.fixture
def holder(directory):
    """Another process that has a turn."""
    command = [sys.executable, "-c", HOLDER, str(directory), KEY]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "False\n"
        yield process
        process.kill()


def waiting(directory: Path, seconds: float | None = None) -> tuple[bool, float]:
    """Whether others have had the turn, and how long that took."""
    began = time.monotonic()
    with turn(directory, KEY, seconds) as others_had_it:
        return others_had_it, time.monotonic() - began


def test_turns_one_after_the_other_are_the_callers_own(directory):
    for _ in range(3):
        assert waiting(directory)[0] is False
    assert os.listdir(directory) == [".turn-ab"]
    assert (directory / ".turn-ab").stat().st_mode & 0o777 == 0o600


def test_another_thread_waits_until_the_turn_is_over(directory):
    found = []
    thread = threading.Thread(target=lambda: found.append(waiting(directory)))
    with turn(directory, KEY, None) as others_had_it:
        assert others_had_it is False
        with turn(directory, OTHER_KEY, None) as others_had_that:
            assert others_had_that is False
        thread.start()
        time.sleep(0.2)
        assert found == []
    thread.join()
    ((waited, seconds),) = found
    assert waited and seconds > 0.1


def test_a_turn_ends_with_an_error_in_it(directory):
    with pytest.raises(ZeroDivisionError), turn(directory, KEY, None):
        raise ZeroDivisionError
    assert waiting(directory)[0] is False


def test_a_turn_ends_with_the_process_that_has_it(directory, holder):
    assert waiting(directory, 0.0)[0] is True
    threading.Timer(0.2, lambda: os.kill(holder.pid, signal.SIGKILL)).start()
    waited, seconds = waiting(directory)
    assert waited and 0.1 < seconds < 10
    assert waiting(directory)[0] is False


def test_nobody_waits_for_longer_than_asked(directory, holder):
    os.kill(holder.pid, signal.SIGSTOP)
    waited, seconds = waiting(directory, 0.3)
    assert waited and 0.2 < seconds < 10


def test_a_signal_ends_the_waiting(directory, holder):
    def handle(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, handle)
    descriptors = len(os.listdir("/proc/self/fd"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            waiting(directory)
    finally:
        signal.signal(signal.SIGALRM, before)
    for _ in range(500):
        if len(os.listdir("/proc/self/fd")) <= descriptors:
            return
        time.sleep(0.01)
    raise AssertionError("the file of the turn is still open")


def test_where_there_can_be_no_turn_nobody_waits(directory, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert waiting(tmp_path / "file" / "code")[0] is False
    directory.mkdir(mode=0o700)
    target = tmp_path / "target"
    (directory / ".turn-ab").symlink_to(target)
    assert waiting(directory)[0] is False
    assert not target.exists()
    (directory / ".turn-ab").unlink()
    directory.chmod(0o777)
    assert waiting(directory)[0] is False
    assert os.listdir(directory) == []
