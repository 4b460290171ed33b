"""A plan as a kernel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from tests.support.nki.sequences.plan import Loop, Place, Plan, Register, Step

__all__ = ["kernel_of"]

_BUFFERS = {"sbuf": nl.sbuf, "psum": nl.psum, "hbm": nl.shared_hbm}


def kernel_of(plan: Plan) -> Any:
    """The kernel: it takes the values of tensors, and returns what each step wrote."""

    def kernel(values: Any) -> Any:
        return _Player(plan, values).play()

    return kernel


class _Player:
    def __init__(self, plan: Plan, values: Iterable[Any]) -> None:
        self._plan = plan
        self._values = iter(values)
        self._tensors: dict[str, Any] = {}
        self._registers: dict[str, Any] = {}
        self._returned: list[Any] = []

    def play(self) -> tuple[Any, ...]:
        for tensor in self._plan.tensors:
            made = nl.ndarray(tensor.shape, tensor.dtype, _BUFFERS[tensor.region])
            self._tensors[tensor.name] = made
            if tensor.filled:
                nisa.dma_copy(made, next(self._values))
        for step in self._plan.steps:
            if isinstance(step, Register):
                self._set(step)
            elif isinstance(step, Loop):
                self._loop(step)
            else:
                self._run(step)
                for name in step.writes:
                    self._show(self._see(step.operands[name]))
        return tuple(self._returned)

    def _set(self, step: Register) -> None:
        if isinstance(step.value, int):
            self._registers[step.name] = nisa.register_alloc(step.value)
            return
        register = nisa.register_alloc(0)
        nisa.register_load(register, self._see(step.value))
        self._registers[step.name] = register

    def _loop(self, loop: Loop) -> None:
        def body(counter: Any = None) -> Any:
            self._registers[loop.counter] = counter
            for step in loop.body:
                self._run(step)
            if not loop.counts_down:
                return None
            nisa.tensor_scalar(left, left, nl.subtract, 1.0)
            nisa.register_load(going, left)
            return going

        if not loop.counts_down:
            upper = self._registers.get(loop.upper, loop.upper)  # type: ignore[arg-type]
            nl.fori_loop(loop.lower, upper, body)
            return
        left, going = self._tensors[loop.counts_down], nisa.register_alloc(0)
        nisa.register_load(going, left)
        nl.while_loop(going, body)

    def _run(self, step: Step) -> None:
        operands = {
            name: self._see(given) if isinstance(given, Place) else given
            for name, given in step.operands.items()
        }
        told = dict(step.told)
        for name, enumeration in _ENUMERATIONS.items():
            if name in told:
                told[name] = getattr(enumeration, told[name])
        if step.name == "assign":
            operands["dst"][...] = operands["src"]
            return
        if step.name == "register_store":
            told["src"] = self._registers[told["src"]]
        getattr(nisa, step.name)(**operands, **told)

    def _show(self, view: Any) -> None:
        result = nl.ndarray(tuple(view.shape), view.dtype, nl.shared_hbm)
        if view.buffer == nl.psum:
            tile = nl.ndarray(tuple(view.shape), view.dtype, nl.sbuf)
            nisa.tensor_copy(tile, view)
            view = tile
        nisa.dma_copy(result, view)
        self._returned.append(result)

    # -- views -------------------------------------------------------------------------
    def _see(self, place: Place) -> Any:
        view = self._tensors[place.tensor]
        for kind, *told in place.looks:
            view = getattr(self, f"_{kind}")(view, *told)
        return view

    def _slice(self, view: Any, axis: int, *bounds: int) -> Any:
        return view[(slice(None),) * axis + (slice(*bounds),)]

    def _select(self, view: Any, axis: int, number: Any) -> Any:
        return view.select(axis, self._registers.get(number, number))

    def _ds(self, view: Any, axis: int, name: str, size: int, times: int) -> Any:
        start = self._registers[name]
        if times != 1:
            start = start * times
        return view[(slice(None),) * axis + (nl.ds(start, size),)]

    def _reshape_dim(self, view: Any, axis: int, shape: tuple[int, ...]) -> Any:
        return view.reshape_dim(axis, shape)

    def _flatten(self, view: Any, first: int, last: int) -> Any:
        return view.flatten_dims(first, last)

    def _permute(self, view: Any, dims: tuple[int, ...]) -> Any:
        return view.permute(dims)

    def _spread(self, view: Any, axis: int, size: int) -> Any:
        return view.expand_dim(axis).broadcast(axis, size)

    def _ap(self, view: Any, pattern: Any, offset: int) -> Any:
        return view.ap(pattern, offset)

    def _view(self, view: Any, dtype: str) -> Any:
        return view.view(dtype)

    def _rows(self, view: Any, index: Place) -> Any:
        return view.vector_select(0, self._see(index))


_ENUMERATIONS = {
    "engine": nisa.engine,
    "reduce_cmd": nisa.reduce_cmd,
    "perf_mode": nisa.matmul_perf_mode,
}
