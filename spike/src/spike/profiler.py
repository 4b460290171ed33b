"""Records which line of the user's program executed which kernel."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

from neff.output_file import append_whole
from spike._spike import NrtModel, Spike

REPORT = "debug_rank_0.txt"


class SpikeProfiler(Spike):
    """A runtime of its own that also notes, on rank 0, where each execution came from.

    What it notes goes to `debug_rank_0.txt` in the working directory. The user's file
    is `target_file`, or the script that runs.
    """

    def __init__(self, verbose_level: int = 0, target_file: str | None = None) -> None:
        super().__init__(verbose_level)
        self._file = target_file or os.path.basename(sys.argv[0])

    def execute(self, model: NrtModel, *args: Any, **kwargs: Any) -> None:
        """As Spike.execute.

        Raises:
            RuntimeError: no caller is in the user's file.
            OSError: the report cannot be written, or is a link.
        """
        if _rank() == 0:
            kernel = os.path.basename(model.neff_path).removesuffix(".neff")
            source = self._source()
            text = f"PID: {os.getpid()}\nSOURCE: {source}\nKERNEL: {kernel}\n---\n"
            append_whole(REPORT, os.fsencode(text))
        super().execute(model, *args, **kwargs)

    def _source(self) -> str:
        for frame, line in traceback.walk_stack(sys._getframe(2)):
            if self._file and self._file in frame.f_code.co_filename:
                return f"{frame.f_code.co_filename}:{line}"
        raise RuntimeError(f"no caller is in a file whose name contains {self._file!r}")


def _rank() -> int:
    """The rank in a distributed program, without importing torch for it."""
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    return int(os.environ.get("RANK", "0"))
