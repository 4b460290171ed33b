"""Where iterations of loops end: what comes then begins when all engines are done.

The compiler ends each iteration of a loop that the device runs (``fori_loop``,
``while_loop``) with a drain and a barrier of all engines, and resets the semaphores:
iterations do not overlap (the SDK's page ``nki-dynamic-loops``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nkipy_nki.program import Instruction, Loop, Program, Step

__all__ = ["is_nest", "iteration_ends"]


@dataclass
class _Open:
    """A loop that is running.

    Attributes:
        loop: the loop.
        seen: what of its body the present iteration has come to.
    """

    loop: Loop
    seen: set[Step] = field(default_factory=set)


def is_nest(loop: Loop) -> bool:
    """Whether nothing is in a loop but another one, whose iterations are its own."""
    return len(loop.body) == 1 and isinstance(loop.body[0], Loop)


def iteration_ends(program: Program, steps: Sequence[Instruction]) -> dict[int, int]:
    """By place of a step: how many iterations end before it, if any.

    Of loops that have nothing in them but one another, the innermost one's only.

    Args:
        program: what was run.
        steps: what was carried out, in order.
    """
    loops = _loops_of(program.body, ())
    if not loops:
        return {}
    found: dict[int, int] = {}
    running: list[_Open] = []
    for place, step in enumerate(steps):
        path = loops.get(step, ())
        depth = 0
        while depth < min(len(path), len(running)):
            if path[depth] is not running[depth].loop:
                break
            depth += 1
        ended = sum(not is_nest(left.loop) for left in running[depth:])
        del running[depth:]
        if running:
            inside: Step = path[depth] if depth < len(path) else step
            if inside in running[-1].seen:
                running[-1].seen.clear()
                ended += 1
            running[-1].seen.add(inside)
        for level in range(depth, len(path)):
            inside = path[level + 1] if level + 1 < len(path) else step
            running.append(_Open(path[level], {inside}))
        if ended:
            found[place] = ended
    return found


def _loops_of(
    body: Sequence[Step], path: tuple[Loop, ...]
) -> dict[Instruction, tuple[Loop, ...]]:
    """The loops that an instruction is in, outermost first; of those in any."""
    found: dict[Instruction, tuple[Loop, ...]] = {}
    for step in body:
        if isinstance(step, Loop):
            found.update(_loops_of(step.body, (*path, step)))
        elif path:
            found[step] = path
    return found
