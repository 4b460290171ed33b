"""Functions of torch tensors that compiled programs compute.

A :class:`Function` is what was captured once: its arguments, which of them a program
takes, what it returns. For each bucket that its sizes lie in it has a program of its
own, a :class:`Variant`, which `compile` makes when it is first needed::

    n = Size(0)  # the first of the symbols
    function = Function(
        "double",
        arguments=["x"],
        symbols=[Symbol("n", argument=0, dimension=0, buckets=PowersOfTwo())],
        inputs=[Input(0, torch.float32, (n, 32))],
        results=[Result(torch.float32, (n, 32))],
        returns=[Returned(0)],
        compile=lambda buckets: Variant.of(
            load(build(module_for(buckets))), [(buckets[0], 32)], [(buckets[0], 32)]
        ),
    )
    (y,) = function([x])

Arguments are a list of tensors and ints; a call returns a list. What a call does:

* A tensor on the function's core that is contiguous and has the program's sizes is used
  where it lies. One of other strides is made contiguous, a smaller one copied into the
  corner of a block of the program's sizes, whose rest holds anything.
* One on the CPU is read at every call. Where a core reaches the host's memory, one that
  is large, or was there at the call before, is used where it lies too.
* What a program writes into becomes the argument's own, however that lies. Two that
  share memory are as if each had been read before; both cannot be written into.
* Results have memory of their own. They are cut to their exact sizes, or returned in
  their bucket's. They are on the CPU if the first tensor is, unless the function or the
  call says otherwise.
* The program stays loaded as others of nkipy do, and is loaded again after a reset.

Statistics are of all calls of the process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, NoReturn

import torch

import spike_torch._C as _C
from spike_torch.program_sizes import (
    Buckets,
    Dimension,
    Exact,
    Expression,
    Linear,
    Listed,
    OneBucket,
    PaddedDimension,
    PowersOfTwo,
    Size,
    dimensions_of,
    expression,
    rule_of,
    tokens_of,
)
from spike_torch.program_statistics import get_memory_stats, get_stats, reset_stats

if TYPE_CHECKING:
    from nkipy.execution.model import ResidentModel

__all__ = [
    "Buckets",
    "Compile",
    "Dimension",
    "Exact",
    "Expression",
    "Function",
    "Input",
    "Linear",
    "Listed",
    "OneBucket",
    "PaddedDimension",
    "PowersOfTwo",
    "Result",
    "Return",
    "Returned",
    "ReturnedArgument",
    "ReturnedNumber",
    "Size",
    "Symbol",
    "Variant",
    "expression",
    "fill_padding",
    "get_memory_stats",
    "get_stats",
    "reset_stats",
]

# ---- What a function is --------------------------------------------------------------


@dataclass(frozen=True)
class Symbol:
    """A size that varies: the value of an int argument, or a tensor's dimension."""

    name: str
    argument: int
    dimension: int | None = None
    buckets: Buckets = PowersOfTwo()


@dataclass(frozen=True)
class Input:
    """What a program takes: an argument; or the exact values of all symbols, in their
    order, if `argument` is None: s32 of that many.

    Attributes:
        shape: its sizes in the program, row-major.
        is_written: a result of the program takes its memory.
        permutation: the program's dimension i is the tensor's permutation[i]. A tensor
            that is row-major in this order is used where it lies.
    """

    argument: int | None
    dtype: torch.dtype = torch.int32
    shape: Sequence[Dimension] = ()
    is_written: bool = False
    permutation: Sequence[int] = ()


@dataclass(frozen=True)
class Result:
    """What a program gives, row-major.

    Attributes:
        input: which of the inputs it is written into; None: it has memory of its own.
    """

    dtype: torch.dtype
    shape: Sequence[Dimension]
    input: int | None = None


@dataclass(frozen=True)
class Returned:
    """A result that a call returns.

    Attributes:
        result: which; one that has memory of its own.
        permutation: the tensor's dimension i is the result's permutation[i].
        is_padded: it is returned with its bucket's sizes.
        is_copied: it is copied if it is cut. Else what is cut along its first dimension
            alone is a view, which keeps memory of the bucket's size.
    """

    result: int
    permutation: Sequence[int] = ()
    is_padded: bool = False
    is_copied: bool = False


@dataclass(frozen=True)
class ReturnedArgument:
    """An argument, itself."""

    argument: int


@dataclass(frozen=True)
class ReturnedNumber:
    """A number that depends on the exact sizes."""

    number: Expression | int


#: None stands for None.
Return = Returned | ReturnedArgument | ReturnedNumber | None


class Variant(_C.Variant):
    """A program for some buckets. Make it with :meth:`of`."""

    @classmethod
    def of(
        cls,
        program: ResidentModel,
        inputs: Sequence[Sequence[PaddedDimension]],
        results: Sequence[Sequence[PaddedDimension]],
    ) -> Variant:
        """A program of :func:`nkipy.execution.load`.

        Args:
            program: its parameters and results are the function's inputs and results,
                in their order, but those that have no elements.
            inputs, results: their sizes. A dimension that the function has factors of
                has as many here.

        Raises:
            ValueError: the program has other sizes.
        """
        module = program.module
        made = module.inputs, module.outputs
        for specs, shapes in zip(made, (inputs, results)):
            wanted = [tuple(map(_size, s)) for s in shapes]
            found = [spec.shape for spec in specs]
            if [shape for shape in wanted if prod(shape)] != found:
                raise ValueError(
                    f"a program of shapes {found} is described as {wanted}"
                )
        names = [spec.name for specs in made for spec in specs]
        return cls(program, names, _padded(inputs), _padded(results))


def _size(dimension: PaddedDimension) -> int:
    return dimension if isinstance(dimension, int) else prod(dimension)


def _padded(shapes: Sequence[Sequence[PaddedDimension]]) -> list[list[list[int]]]:
    return [[[d] if isinstance(d, int) else list(d) for d in s] for s in shapes]


Compile = Callable[[tuple[int, ...]], Variant]


class Function(_C.Function):
    """A function of torch tensors, as this module's text says.

    Args:
        name: for messages.
        arguments: the names of all arguments, for messages.
        symbols: the sizes that vary.
        inputs, results: what each program takes and gives.
        returns: what a call returns.
        compile: makes the program for buckets, one for each symbol. It is called once
            for each; other threads wait. What it raises, the call raises.
        core: the core that its programs are on.
        may_compile: whether a call may do that. `variant` may compile in any case.
        pads_on_device: whether padding is done there, or before tensors go there.
        keeps_outputs_on_device: whether results stay there where the first tensor is
            on the CPU.
        is_counted: whether statistics count it.

    Calls::

        function(arguments, sizes=None, to_cpu=None, profile=None)

    Args:
        arguments: a list.
        sizes: the exact values of all symbols, where arguments are padded already;
            None: they are read from the arguments.
        to_cpu: whether results are on the CPU; None: as the function says.
        profile: a file for a profile of this execution.

    Raises:
        TypeError: there are too few arguments or too many, or one is of a wrong kind.
        RuntimeError: a tensor is on another device or of another dtype, or was of a
            runtime that is closed.
        ValueError: sizes do not fit, or there is no program and none may be compiled;
            two arguments share memory that both are written into.
        torch.OutOfMemoryError: the core's memory is not enough.
        spike.NrtError: the device failed.

    Other methods: ``variant(buckets)`` is the program for buckets, compiled if there is
    none; ``compiled()`` lists the buckets that there are programs for;
    ``sizes_of(arguments)`` are the values of the symbols, and ``buckets_of(sizes)`` the
    buckets that those lie in.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        symbols: Sequence[Symbol],
        inputs: Sequence[Input],
        results: Sequence[Result],
        returns: Sequence[Return],
        compile: Compile,
        *,
        core: int = 0,
        may_compile: bool = True,
        pads_on_device: bool = True,
        keeps_outputs_on_device: bool = False,
        is_counted: bool = True,
    ) -> None:
        _check_indices(name, arguments, symbols, inputs, results, returns)
        super().__init__(
            name,
            list(arguments),
            [
                (s.name, s.argument, -1 if s.dimension is None else s.dimension)
                + rule_of(s.buckets)
                for s in symbols
            ],
            [_input(given, len(symbols)) for given in inputs],
            [
                (r.dtype, dimensions_of(r.shape), -1 if r.input is None else r.input)
                for r in results
            ],
            [_returned(given) for given in returns],
            core,
            may_compile,
            pads_on_device,
            keeps_outputs_on_device,
            is_counted,
            compile,
        )


def _check_indices(
    name: str,
    arguments: Sequence[str],
    symbols: Sequence[Symbol],
    inputs: Sequence[Input],
    results: Sequence[Result],
    returns: Sequence[Return],
) -> None:
    def check(what: str, index: int | None, things: Sequence[Any]) -> None:
        if index is not None and not 0 <= index < len(things):
            raise ValueError(f"'{name}' has no {what} {index}, but {len(things)}")

    for symbol in symbols:
        check("argument", symbol.argument, arguments)
    for given in inputs:
        check("argument", given.argument, arguments)
        if given.is_written and given.argument is None:
            raise ValueError(f"'{name}' writes into its sizes")
        _check_permutation(name, given.permutation, given.shape)
    for result in results:
        check("input", result.input, inputs)
    written = [result.input for result in results if result.input is not None]
    if sorted(written) != [i for i, given in enumerate(inputs) if given.is_written]:
        raise ValueError(
            f"'{name}' has results that take the memory of inputs {written}; each of "
            "these is written into once, and is to say so"
        )
    for returned in returns:
        if isinstance(returned, ReturnedArgument):
            check("argument", returned.argument, arguments)
        elif isinstance(returned, Returned):
            check("result", returned.result, results)
            result = results[returned.result]
            if result.input is not None:
                raise ValueError(
                    f"'{name}' returns result {returned.result}, which is written into "
                    f"input {result.input}: return that argument"
                )
            _check_permutation(name, returned.permutation, result.shape)


def _check_permutation(
    name: str, order: Sequence[int], shape: Sequence[Dimension]
) -> None:
    if order and sorted(order) != list(range(len(shape))):
        raise ValueError(f"'{name}': {list(order)} permutes no {len(shape)} dimensions")


def _order(permutation: Sequence[int]) -> list[int]:
    """The permutation; none if it moves nothing."""
    order = list(permutation)
    return [] if order == sorted(order) else order


def _input(given: Input, symbols: int) -> tuple[int, Any, Any, bool, list[int]]:
    if given.argument is None:
        return -1, torch.int32, dimensions_of((symbols,)), False, []
    shape, order = dimensions_of(given.shape), _order(given.permutation)
    return given.argument, given.dtype, shape, given.is_written, order


def _returned(given: Return) -> tuple[str, int, list[int], bool, bool, list[int | str]]:
    if given is None:
        return "none", 0, [], False, False, []
    if isinstance(given, ReturnedArgument):
        return "argument", given.argument, [], False, False, []
    if isinstance(given, ReturnedNumber):
        return "number", 0, [], False, False, tokens_of(given.number)
    order = _order(given.permutation)
    return "result", given.result, order, given.is_padded, given.is_copied, []


def fill_padding(is_filled: bool) -> None:
    """For tests: fill padding with bytes of ones, which are NaN, or -1."""
    _C.fill_padding(is_filled)


# ---- What C++ calls ------------------------------------------------------------------


def _load(variant: _C.Variant) -> None:
    """Have the program loaded; where memory is short, after emptying the pool."""
    from spike import NrtError, NrtStatus
    from spike_torch.memory import empty_cache

    try:
        return variant.resident.enter(variant.take)
    except NrtError as error:
        if error.status != NrtStatus.RESOURCE:
            raise
    empty_cache()
    try:
        variant.resident.enter(variant.take)
    except NrtError as error:
        if error.status != NrtStatus.RESOURCE:
            raise
        raise torch.OutOfMemoryError(f"nkipy: unable to load a program: {error}") from (
            error
        )


def _raise_failure(status: int, text: str) -> NoReturn:
    """What a failed execution raises.

    Raises:
        NrtError: the device failed. Of a device emulated in this process, ``__cause__``
            is what was raised there.
        torch.OutOfMemoryError: it has no memory left.
        RuntimeError: spike refuses.
    """
    from nkipy.execution.failures import explain
    from spike import NrtError, NrtStatus

    if status == NrtStatus.RESOURCE:
        raise torch.OutOfMemoryError(text)
    if status < 0:
        raise RuntimeError(text)
    error = NrtError(text)
    error.status = error.error_code = error.code = status
    explain(error)
    raise error
