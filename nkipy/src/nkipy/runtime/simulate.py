"""Simulation: the traced HLO, and nothing else, computes the result, on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from nkipy.core.backend import _active_ctx
from nkipy.core.errors import NKIPyValueError
from nkipy.core.trace import NKIPyKernel, Trace
from nkipy.distributed.processes import World, traced_for
from nkipy.execution.engines import Executable, ReplicatedExecutable, find_engine
from nkipy.execution.part import PartOf
from nkipy.hlo.arguments import expect
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.options import SimulationOptions
from nkipy.hlo.queries import collectives
from nkipy.hlo.rewrites.orders import turn_results
from nkipy.hlo.rewrites.ranks import as_rank
from nkipy.runtime.guards import Guards
from nkipy.runtime.jit import JitKernel, P, R_co
from nkipy.runtime.per_rank import PerRank, select_rank
from nkipy.runtime.program import Program
from nkipy.runtime.ranks import check_ranks, meeting, ranks_here

__all__ = ["PerRank", "SimulatedKernel"]


class SimulatedProgram(Program):
    """A program whose results lie in memory as those of NumPy do."""

    def __init__(self, trace: Trace, executable: Executable, guards: Guards) -> None:
        super().__init__(trace, executable, guards)
        self._axes: dict[int, tuple[int, ...]] = {}
        for i, order in trace.orders.items():
            shape, dtype = self.shapes[i]
            self.shapes[i] = tuple([shape[axis] for axis in order]), dtype
            self._axes[i] = tuple([order.index(axis) for axis in range(len(order))])

    def result(self, outputs: list[Any]) -> Any:
        if self._axes:
            for i, axes in self._axes.items():
                outputs[i] = outputs[i].transpose(axes)
        return Program.result(self, outputs)  # at each call: faster than super()


class SimulatedKernel(JitKernel[P, R_co]):
    """A kernel whose calls execute its HLO on the CPU.

    Args:
        kernel: a function, or an :class:`NKIPyKernel`.
        options: numerics of the simulation.
        world_size: number of ranks that run together. With more than one, a call
            returns a list with one result per rank, and arguments may be
            :class:`PerRank`.
    """

    program_type = SimulatedProgram
    logger_name = "nkipy.simulate"
    kind = "simulated"

    def __init__(
        self,
        kernel: Callable[P, R_co] | NKIPyKernel,
        options: SimulationOptions | None = None,
        world_size: int = 1,
    ) -> None:
        super().__init__(kernel)
        expect(world_size, int, "simulate_jit", "world_size")
        if world_size < 1:
            raise ValueError(
                f"world_size must be at least 1, but received {world_size}"
            )
        self.options = options or SimulationOptions()
        self.world_size = world_size

    def _call_otherwise(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.world_size > 1 and _active_ctx.get() is None:
            return self._call_ranks(args, kwargs)
        return super()._call_otherwise(args, kwargs)

    def lower(self, /, *args: Any, **kwargs: Any) -> HLOModule:
        """The module that a call with these arguments executes."""
        if self.world_size > 1:
            args, kwargs = select_rank((args, kwargs), 0, self.world_size)
        return super().lower(*args, **kwargs)

    def _build(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Program:
        if self.world_size == 1:
            return super()._build(args, kwargs)
        with traced_for(self.world_size):
            return super()._build(args, kwargs)

    def _module_of(self, trace: Trace) -> HLOModule:
        return turn_results(trace.module, trace.orders)

    def _executable(self, module: HLOModule) -> Executable:
        exchanges = list(collectives(module))
        here = World() if self.world_size > 1 else ranks_here(module)
        check_ranks(module, self.world_size if here.size == 1 else here.size)
        if not module.results and self.world_size == 1:
            return PartOf(None, (), ())
        if here.size == 1:
            return find_engine().compile(
                module, options=self.options, num_replicas=self.world_size
            )
        if not exchanges:
            module = as_rank(module, here.rank)
            return find_engine().compile(module, options=self.options)
        return find_engine().compile(
            module, options=self.options, meeting=meeting(here)
        )

    # -- several ranks -----------------------------------------------------------------
    def _call_ranks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        calls = [
            select_rank((args, kwargs), rank, self.world_size)
            for rank in range(self.world_size)
        ]
        programs = []
        per_rank = []
        for rank_args, rank_kwargs in calls:
            program, arrays = self._program(rank_args, rank_kwargs)
            programs.append(program)
            per_rank.append(arrays)
        program = programs[0]
        if any(p is not program for p in programs):
            raise NKIPyValueError(
                "all ranks run one program: their arguments must have the same shapes, "
                "dtypes and static values"
            )
        self._refuse_shared_writes(program, per_rank)
        inputs = [program.inputs(arrays) for arrays in per_rank]
        outputs = [program.outputs(arrays) for arrays in per_rank]
        executable = cast(ReplicatedExecutable, program.executable)
        executable.run_replicas(inputs, outputs)
        for arrays, made in zip(per_rank, outputs):
            program.write_back(arrays, made)
        return [program.result(made) for made in outputs]

    @staticmethod
    def _refuse_shared_writes(program: Program, per_rank: list[list[Any]]) -> None:
        for alias in program.trace.module.aliases:
            targets = [arrays[alias.param_index] for arrays in per_rank]
            shared = any(
                np.may_share_memory(target, other) and np.shares_memory(target, other)
                for rank, target in enumerate(targets)
                for other_rank, arrays in enumerate(per_rank)
                if other_rank != rank
                for other in arrays
            )
            if shared:
                raise NKIPyValueError(
                    f"the kernel writes into argument '{alias.param_name}': pass "
                    "PerRank([...]) with one array for each rank, which no other "
                    "rank reads"
                )
