"""Loads programs: from the bytes of a NEFF to something that runs on addresses.

Nothing in a NEFF is trusted. The container is read within bounds, the module is read
and verified before XLA sees it, and no code comes from the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from neff import TensorInfo
from nkipy.hlo.custom_calls import targets_of
from nkipy.hlo.queries import constant_bytes
from nkipy.hlo.rewrites.empty_arrays import WithoutEmpty, without_empty_arrays
from nkipy.hlo.written import read_written
from nkipy_emulator.code_cache import user_cache
from nkipy_emulator.cost_model.constants import find_target, switch_ns
from nkipy_emulator.device.options import LoadOptions
from nkipy_emulator.device.program import Program, read_program
from nkipy_emulator.device.ranks import for_ranks
from nkipy_emulator.engine import XlaCpuEngine

if TYPE_CHECKING:
    from nkipy.hlo.ir import HLOModule
    from nkipy_emulator.executables import XlaExecutable

Printer: TypeAlias = Callable[[int, str, str, tuple[int, ...], bytes], None]

#: A larger program is not kept for an estimate that nobody may ask for.
_MAX_KEPT = 1 << 20


@dataclass(frozen=True)
class LoadedProgram:
    """A compiled program.

    Attributes:
        executable: what runs it.
        description: JSON text with ``name``, ``target``, ``lnc``, ``ranks``;
            ``inputs`` and ``outputs``, lists of ``name``, ``dtype``, ``shape`` and
            ``nbytes`` in the order of addresses, without those of no bytes, of which
            there are no tensors; ``aliases``, pairs of output and input index;
            ``program_bytes``, what it takes of the device's memory.
        input_count: how many inputs it has, over all ranks.
        estimate: the cost model's account of one execution, as JSON text with
            ``estimated_ns``, ``switch_ns`` (what a core needs before it, if another
            program was its last) and ``timeline``.
    """

    executable: XlaExecutable
    description: str
    input_count: int
    estimate: Callable[[], str]

    def execute(
        self,
        input_addresses: Sequence[int],
        output_addresses: Sequence[int],
        printer: Printer,
    ) -> None:
        """Run once, on memory.

        Args:
            input_addresses: of the inputs, of all ranks one after the other.
            output_addresses: the same for the outputs. They may be those of inputs, or
                overlap them: results are stored when all inputs have been read.
            printer: takes what kernels print: a rank, the prefix, the dtype's name, the
                shape and the elements' bytes. From any thread, one call at a time.

        Raises:
            ValueError: not as many addresses as the program has inputs or outputs.
            SimulationError: XLA failed. Outputs are untouched.
        """
        self.executable.runner.run_at(input_addresses, output_addresses, printer)


def load(neff: Any, options: LoadOptions) -> LoadedProgram:
    """Read, check and compile the program in the bytes of a NEFF.

    Raises:
        NeffError: the container is malformed.
        DeviceError: the file is no program of ours, or not one for this core.
        HLOProtoError, HLOVerificationError: the module is malformed.
        SimulationError, UnsupportedCustomCallError: XLA cannot run it.
        CostModelError: the target or LNC is unknown to the cost model.
    """
    program = read_program(neff, options)
    ranked = for_ranks(program.module, options)
    ranks = ranked.ranks
    left = without_empty_arrays(ranked.module)
    executable = XlaCpuEngine(user_cache()).compile(
        left.module,
        options=program.numerics,
        num_replicas=ranks,
        check_bounds=options.fail_out_of_bounds,
        makes_results=False,
        seat=ranked.seat,
    )
    description = json.dumps(_describe(program, left, ranks, options))
    count = len(left.inputs) * ranks
    return LoadedProgram(executable, description, count, _estimator(program, options))


def _estimator(program: Program, options: LoadOptions) -> Callable[[], str]:
    """The estimate for later: few programs are ever watched.

    It is made of the program's bytes, which take less memory than a module. What could
    make it fail is found now.
    """
    neff, module = program.neff, program.module
    target = neff.target or options.target
    launch_ns = find_target(target, neff.lnc).launch_ns
    switching_ns = round(switch_ns())

    def of(module: HLOModule) -> str:
        # Imported here, as few programs need it.
        from nkipy_emulator.cost_model import estimate

        cost = estimate(
            module,
            target,
            numerics=program.numerics,
            lnc=neff.lnc,
            ranks=options.world_size,
            launch_ns=launch_ns,
        )
        return json.dumps(
            {
                "estimated_ns": cost.total_ns,
                "switch_ns": switching_ns,
                "timeline": cost.timeline_text(),
            }
        )

    if len(neff.hlo) > _MAX_KEPT or targets_of(module.computations()):
        text = of(module)
        return lambda: text
    hlo = bytes(neff.hlo)
    return lambda: of(read_written(hlo))


def _describe(
    program: Program, left: WithoutEmpty, ranks: int, options: LoadOptions
) -> dict[str, Any]:
    neff, module = program.neff, program.module
    return {
        "name": neff.name,
        "target": neff.target or options.target,
        "lnc": neff.lnc,
        "ranks": ranks,
        "inputs": [_describe_tensor(neff.inputs[i]) for i in left.inputs],
        "outputs": [_describe_tensor(neff.outputs[i]) for i in left.outputs],
        "aliases": [
            [left.outputs.index(a.output), left.inputs.index(a.input)]
            for a in neff.aliases
            if a.output in left.outputs
        ],
        "program_bytes": len(neff.hlo) + constant_bytes(module),
    }


def _describe_tensor(tensor: TensorInfo) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "nbytes": tensor.nbytes,
    }
