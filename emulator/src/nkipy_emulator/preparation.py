"""What is made of a program for XLA: all rewrites, and a store of its results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nkipy.hlo.dtypes import uint8, uint64
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.numerics import apply_auto_cast
from nkipy.hlo.rewrites.bounds import with_bounds_flag
from nkipy.hlo.rewrites.broadcasts import expand_broadcasts
from nkipy.hlo.rewrites.comparators import order_sorts
from nkipy.hlo.rewrites.divisions import guard_divisions
from nkipy.hlo.rewrites.dots import flatten_dots
from nkipy.hlo.rewrites.exact import keep_exact
from nkipy.hlo.rewrites.extremes import keep_nan
from nkipy.hlo.rewrites.materializing import bound_duplication
from nkipy.hlo.rewrites.powers import expand_powers
from nkipy.hlo.rewrites.subnormals import flush_subnormals
from nkipy_emulator import _xla
from nkipy_emulator.array_calls import send_array_operations
from nkipy_emulator.call_sites import CustomCalls
from nkipy_emulator.custom_calls import lower_custom_calls
from nkipy_emulator.endless_loops import make_interruptible
from nkipy_emulator.fast_calls import FastCalls
from nkipy_emulator.function_calls import send_functions
from nkipy_emulator.handler_calls import let_stop
from nkipy_emulator.joins import send_joins
from nkipy_emulator.layers import roll_layers
from nkipy_emulator.operands import read_through_slices
from nkipy_emulator.own_results import add_blanks, transpose_once
from nkipy_emulator.strided_stores import send_strided_stores
from nkipy_emulator.wide_functions import widen_functions
from nkipy_emulator.world_calls import lower_collectives

if TYPE_CHECKING:
    from nkipy.hlo.options import SimulationOptions

_STORE = _xla.handler_call("nkipy_store", has_side_effect=True)
_TELL_OUT_OF_BOUNDS = _xla.handler_call("nkipy_out_of_bounds", has_side_effect=True)


def with_store(
    module: HLOModule,
    options: SimulationOptions | None,
    calls: CustomCalls,
    check_bounds: bool = False,
    ranks: int = 1,
    fast_calls: FastCalls = "never",
    own: Sequence[int] = (),
    world_size: int = 0,
) -> tuple[HLOModule, frozenset[int]]:
    """The module that XLA gets: `module`, ending in a store of all its results.

    It has no outputs of its own but a byte that says it is done, then the results
    `own`, and one parameter more, the call vector of the handler library: the state of
    the running call, where each result goes, by how many elements parameters begin
    behind aligned addresses, where they lie, and a zero.
    Aliases are left out, since results go where the caller says.

    Returns:
        The module, and which parameters are sliced (:mod:`nkipy_emulator.operands`).
    """
    result = HLOModule(module.name)
    result.entry.instructions = list(module.entry.instructions)
    result.entry.parameters = list(module.parameters)
    first = 1 + len(module.results)
    count = len(module.parameters)
    size = first + 2 * count + 1
    vector = result.add_parameter((size,), uint64, "nkipy_call_vector")
    result.entry.instructions.insert(0, result.entry.instructions.pop())
    result.set_results(module.results)
    result = lower_custom_calls(result, vector, calls, world_size or ranks)
    if world_size > 0:
        result = lower_collectives(result, vector, world_size)
    else:  # its ranks are replicas
        result = expand_broadcasts(result, ranks)
    if check_bounds:
        result = _telling_out_of_bounds(result, vector)
    if options is None or options.auto_cast != "all":  # which rounds parts of functions
        result = widen_functions(send_functions(result, fast_calls))
    result = make_interruptible(result, vector)
    result = apply_auto_cast(result, options)
    # XLA transposes the operands of other products even where that changes nothing. To
    # remove it is left to the algebraic simplifier, which exact results forbid
    # (_xla.EXACT): each copies a whole operand, say the weights of a layer, per call.
    result = send_array_operations(flatten_dots(result), fast_calls)
    result = roll_layers(result, vector, first + count, fast_calls)
    result = send_strided_stores(send_joins(result, fast_calls), fast_calls)
    result = guard_divisions(keep_nan(result))
    result = flush_subnormals(order_sorts(expand_powers(result)))
    result = bound_duplication(keep_exact(result, vector))
    result, sliced = read_through_slices(result, vector, first)
    result = let_stop(result, vector)
    transpose_once(result, own)
    store = HLOInstruction(
        "custom-call", (*result.results, vector), (1,), uint8, _STORE
    )
    made = [result.results[i] for i in own]
    result.add_operation(store)
    names = ["done", *(f"made{i}" for i in own)]
    result.set_results([store, *made], names)
    add_blanks(result)
    return result, sliced


def _telling_out_of_bounds(module: HLOModule, vector: HLOInstruction) -> HLOModule:
    """A copy of `module` that marks a call with an index out of bounds as such."""
    result, flag = with_bounds_flag(module)
    if flag is not None:
        operands = (flag, vector)
        tell = HLOInstruction("custom-call", operands, (1,), uint8, _TELL_OUT_OF_BOUNDS)
        result.add_operation(tell)
    return result
