"""The line on a terminal while something takes long."""

from __future__ import annotations

import io
import os
import re
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from nkipy.hlo.builder import HLOBuilder
from nkipy_emulator import apart, progress
from nkipy_emulator import engine as engine_module
from nkipy_emulator.progress import ProgressLine
from tests.support.engine import make_module


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Writer:
    """What a program may have put in the place of stderr."""

    def write(self, text):
        raise AssertionError(text)

    def getvalue(self):
        return ""


def shown(text: str) -> str:
    """What stands on a terminal in the end, of a text without line feeds."""
    return re.split("\x1b\\[K", text)[-1].strip("\r")


@pytest.fixture
def terminal(monkeypatch):
    made = Terminal()
    set_stderr(monkeypatch, made)
    return made


def set_stderr(monkeypatch, stream):
    """For the module alone: pytest has sys.stderr be what it captures."""
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=stream))


def test_what_takes_no_time_is_not_told(terminal):
    line = ProgressLine("compiling 'k'")
    for seconds in (0.0, 1.0, 2.9):
        line.tell(seconds)
    line.erase()
    assert terminal.getvalue() == ""


def test_a_line_is_written_each_second_and_erased(terminal):
    line = ProgressLine("compiling 'k'")
    texts = []
    for seconds in (3.0, 3.1, 3.9, 4.2):
        line.tell(seconds)
        texts.append(shown(terminal.getvalue()))
    told = [f"compiling 'k': {n} s; Ctrl-C ends it" for n in (3, 3, 3, 4)]
    assert texts == told
    assert terminal.getvalue().count("\r") == 2
    line.erase()
    assert shown(terminal.getvalue()) == "" and "\n" not in terminal.getvalue()


def test_there_is_one_line_at_a_time(terminal):
    first, second = ProgressLine("first"), ProgressLine("second")
    first.tell(5)
    second.tell(6)
    second.erase()
    assert shown(terminal.getvalue()).startswith("first")
    first.erase()
    second.tell(7)
    assert shown(terminal.getvalue()).startswith("second")
    second.erase()


def test_a_long_name_does_not_leave_the_line(terminal):
    line = ProgressLine("compiling " + "k" * 100)
    line.tell(3)
    line.erase()
    assert max(map(len, re.split("\r\x1b\\[K", terminal.getvalue()))) == 79


@pytest.mark.parametrize("stream", [None, io.StringIO(), Writer()])
def test_where_there_is_no_terminal_nothing_happens(monkeypatch, stream):
    set_stderr(monkeypatch, stream)
    line = ProgressLine("compiling 'k'")
    line.tell(3)
    line.erase()
    if stream is not None:
        assert stream.getvalue() == ""


def test_a_closed_stderr_is_no_error(monkeypatch, terminal):
    terminal.close()
    line = ProgressLine("compiling 'k'")
    line.tell(3)
    line.erase()


def test_a_compile_is_told_by_the_kernels_name_and_leaves_nothing(
    engine, terminal, monkeypatch
):
    monkeypatch.setattr(progress, "AFTER_SECONDS", 0.0)
    monkeypatch.setattr(apart, "_GLANCE", 0.001)

    def chain(b: HLOBuilder, x):
        for _ in range(20):
            x = b.unary("tanh", b.unary("negate", x))
        return x

    module = make_module(chain, np.ones(3, np.float32))
    module.name = "my_kernel"
    engine.compile(module)
    written = terminal.getvalue()
    assert "compiling 'my_kernel': 0 s" in written and shown(written) == ""


def test_what_nobody_waits_for_any_more_is_not_told(terminal):
    """A thread that is left behind, as at Ctrl-C, goes on with what it does."""
    is_left, is_over, written = threading.Event(), threading.Event(), []

    def work():
        line = ProgressLine("compiling 'k'")
        line.tell(5)
        written.append(shown(terminal.getvalue()))
        assert is_left.wait(60)

        def deeper():
            line.tell(6)
            ProgressLine("more of it").tell(7)
            written.append(shown(terminal.getvalue()))

        apart.run_apart(deeper)
        is_over.set()

    with pytest.raises(apart.NotDoneError):
        apart.run_apart(work, 0.1)
    is_left.set()
    assert is_over.wait(60)
    assert written == ["compiling 'k': 5 s; Ctrl-C ends it", ""]


def test_what_is_done_in_python_is_told_too(engine, terminal, monkeypatch):
    """Rewriting thousands of instructions for XLA may take longer than XLA does."""
    monkeypatch.setattr(progress, "AFTER_SECONDS", 0.0)
    monkeypatch.setattr(progress, "_GLANCE", 0.001)
    monkeypatch.setattr(engine_module, "_MANY_INSTRUCTIONS", 2)
    module = make_module(lambda b, x: b.unary("negate", x), np.ones(3, np.float32))
    module.name = "my_kernel"
    written = []

    def roll_steps(module, check_bounds):
        deadline = time.monotonic() + 60
        while not terminal.getvalue() and time.monotonic() < deadline:
            time.sleep(0.001)
        written.append(terminal.getvalue())
        return module

    monkeypatch.setattr(engine_module, "roll_steps", roll_steps)
    engine.compile(module)
    assert "compiling 'my_kernel': 0 s" in written[0]
    assert shown(terminal.getvalue()) == ""


def test_a_terminal_that_goes_away_while_another_thread_tells(monkeypatch):
    monkeypatch.setattr(progress, "AFTER_SECONDS", 0.0)
    monkeypatch.setattr(progress, "_GLANCE", 0.001)
    asked = threading.Event()

    class Gone(Terminal):
        def write(self, text):
            asked.set()
            raise OSError("gone")

    set_stderr(monkeypatch, Gone())
    with progress.telling("compiling 'k'"):
        assert asked.wait(60)
    set_stderr(monkeypatch, terminal := Terminal())
    other = ProgressLine("another")  # nobody holds the terminal
    other.tell(3)
    assert shown(terminal.getvalue()).startswith("another")
    other.erase()


def test_what_a_handler_of_a_signal_raises_meanwhile_is_raised(monkeypatch):
    class Interrupted(Terminal):
        def write(self, text):
            raise TimeoutError("a handler's")

    set_stderr(monkeypatch, Interrupted())
    line = ProgressLine("compiling 'k'")
    with pytest.raises(TimeoutError):
        line.tell(3)
    with pytest.raises(TimeoutError):
        line.erase()
    set_stderr(monkeypatch, terminal := Terminal())
    other = ProgressLine("another")  # the terminal is free again
    other.tell(3)
    assert shown(terminal.getvalue()).startswith("another")
    other.erase()


def test_a_terminal_that_hangs_up_is_left(monkeypatch):
    leader, follower = os.openpty()
    line = ProgressLine("compiling 'k'")
    with os.fdopen(follower, "w") as stream:
        set_stderr(monkeypatch, stream)
        line.tell(3)
        told = b"\r\x1b[Kcompiling 'k': 3 s; Ctrl-C ends it"
        assert os.read(leader, 1000) == told
        os.close(leader)
        line.tell(4)
        line.erase()
