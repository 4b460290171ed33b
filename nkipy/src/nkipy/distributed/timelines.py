"""One timeline of what all ranks of a job have traced."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nkipy.core.errors import NKIPyValueError
from nkipy.distributed.processes import gather_messages, spans_machines, world


@contextmanager
def timeline(path: str | os.PathLike[str]) -> Iterator[str]:
    """A block in which each rank traces one call; then `path` shows all of them.

    All ranks have to come, with one path, and to end the block. The name that each
    gets is for the profile of one call::

        with distributed.timeline("step.json") as part:
            kernel(inputs, outputs, save_trace=True, ntff_name=part)

    In the file, Chrome-trace JSON as ui.perfetto.dev opens it, each rank is a process,
    and arrows lead from the rank that comes to a collective first to the one that comes
    last. When the block is over on a rank, the file is there. It appears as a whole,
    in the place of one that was there; nothing is written if a block fails.

    Args:
        path: the file; rank 0 writes it, and parts into a directory beside it, which
            is removed.

    Raises:
        NKIPyValueError: ranks are on several machines, which have no clock in common,
            or name other files; or a rank has failed in its block, or traced nothing,
            or what no timeline can be made of, as the profiles of silicon.
        OSError: rank 0 cannot make the directory.
        NrtError: a rank has ended, or has not come in ``NEURON_RT_EXEC_TIMEOUT``
            seconds.
    """
    here = world()
    target = Path(path).absolute()
    parts = _begin(target, here.rank)
    own = parts / f"rank_{here.rank}.ntff"
    try:
        try:
            yield str(own)
        except BaseException as error:
            _tell_of_failure(error)
            raise
        _end(target, parts, own, here.rank)
    finally:
        if here.rank == 0:
            shutil.rmtree(parts, ignore_errors=True)


def _begin(target: Path, rank: int) -> Path:
    """The directory of parts, which rank 0 makes: all agree, or all are refused."""
    made, problem = "", ""
    if spans_machines():
        problem = "the ranks are on several machines, which have no clock in common"
    elif rank == 0:
        try:
            made = tempfile.mkdtemp(prefix=".timeline-", dir=target.parent)
        except OSError as error:
            problem = f"{type(error).__name__}: {error}"
    answers = gather_messages([str(target), made, problem])
    directory = Path(answers[0][1])
    names = {answer[0] for answer in answers}
    problems = [answer[2] for answer in answers if answer[2]]
    if len(names) > 1:
        problems.append(f"ranks name several files: {', '.join(sorted(names))}")
    if problems:
        if made:
            shutil.rmtree(directory, ignore_errors=True)
        raise NKIPyValueError(f"timeline: {problems[0]}")
    return directory


def _tell_of_failure(error: BaseException) -> None:
    """Others wait at the end of their blocks."""
    try:
        gather_messages(f"has failed: {type(error).__name__}: {error}")
    except Exception as failure:
        # Nobody can be told any more, as when a collective has failed on all ranks.
        error.__context__ = failure


def _end(target: Path, parts: Path, own: Path, rank: int) -> None:
    problem = "" if own.is_file() else "has traced nothing: pass the name as ntff_name"
    _require(gather_messages(problem))
    if rank == 0:
        problem = _join(sorted(parts.glob("rank_*.ntff")), target)
    _require(gather_messages(problem))


def _join(parts: list[Path], target: Path) -> str:
    """What goes wrong."""
    from spike.joined_timeline import join_timelines

    try:
        join_timelines(parts, target)
    except (ValueError, OSError) as error:
        return f"cannot join: {error}"
    return ""


def _require(answers: list[Any]) -> None:
    for rank, problem in enumerate(answers):
        if problem:
            raise NKIPyValueError(f"timeline: rank {rank} {problem}")
