"""What IPython, and so a notebook, shows: text of programs, and of errors the cell.

IPython is never imported here: who runs in it has it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

IsHidden = Callable[[FrameType], bool]


def fixed_width(text: str) -> str:
    """Text as HTML in which columns stay columns, in whatever page it is put."""
    from html import escape

    style = "font-family: monospace; white-space: pre; overflow-x: auto"
    return f'<pre style="{style}">{escape(text)}</pre>'


def active_shell() -> Any | None:
    """The IPython that runs this process's cells, if one does."""
    module = sys.modules.get("IPython.core.interactiveshell")
    shell: Any = getattr(module, "InteractiveShell", None)
    return shell.instance() if shell is not None and shell.initialized() else None


def place(filename: str, line: int) -> str:
    """A line as messages name it: ``file:line``, or ``Cell In[3], line 2``."""
    compiler = getattr(active_shell(), "compile", None)
    name_of_code = getattr(compiler, "format_code_name", None)  # since IPython 8
    label = name_of_code(filename) if name_of_code is not None else None
    if label is None:
        return f"{filename}:{line}"
    return f"{' '.join(label)}, line {line}"


def hide_frames(errors: type[BaseException], is_hidden: IsHidden) -> None:
    """Make IPython, if it runs here, leave frames out where it shows such errors.

    ``%xmode Verbose`` shows them all. Somebody else's handler of errors stays.
    """
    shell = active_shell()
    if shell is None or shell.custom_exceptions:
        return

    def show(
        shell: Any, kind: type, error: BaseException, trace: Any, tb_offset: Any = None
    ) -> None:
        _show(shell, (kind, error, trace), tb_offset, is_hidden)

    shell.set_custom_exc((errors,), show)


def _show(shell: Any, shown: Any, tb_offset: Any, is_hidden: IsHidden) -> None:
    kind, error, trace = shown
    if shell.InteractiveTB.mode == "Verbose":
        shell.showtraceback(shown, tb_offset=tb_offset)
        return
    cause, context = error.__cause__, error.__suppress_context__
    if cause is not None and without_frames(cause.__traceback__, is_hidden) is None:
        error.__cause__ = None  # it is within; the error says the same
        error.__suppress_context__ = True
    try:
        visible = without_frames(trace, is_hidden)
        shell.showtraceback((kind, error, visible), tb_offset=tb_offset)
    finally:
        error.__cause__, error.__suppress_context__ = cause, context


def without_frames(
    trace: TracebackType | None, is_hidden: IsHidden
) -> TracebackType | None:
    """The traceback of the frames that are not hidden; None if all are."""
    entries = []
    while trace is not None:
        entries.append(trace)
        trace = trace.tb_next
    kept: TracebackType | None = None
    for entry in reversed(entries):
        if not is_hidden(entry.tb_frame):
            kept = TracebackType(kept, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return kept
