"""Lowers the call of an operator whose lowering is an NKI kernel."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import unset_fake_temporarily

from nkipy.hlo.builder import Value
from nkipy.hlo.kernel_languages import language
from spike_torch.aten import Operator
from spike_torch.lowering import Array, Graph, NeedsExactSize, Result, Unsupported
from spike_torch.lowering.dtypes import hlo_dtype
from spiky.errors import KernelError
from spiky.kernel_programs import emitted, traced
from spiky.kernels import NKIOperation, NKIOpRegistry


def record_of_kernel(name: str) -> Operator | None:
    """The record of an operator that a kernel compiles; None: no kernel does."""
    operation = NKIOpRegistry.find(name)
    if operation is None:
        return None

    def lower(g: Graph, *args: Any, **kwargs: Any) -> Any:
        return lower_kernel(operation, g, args, kwargs)

    return Operator(name, lower=lower, padding=operation.padding)


def lower_kernel(
    operation: NKIOperation, g: Graph, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """Build what the operator returns; then what its written arguments hold after.

    Args:
        operation: the kernel, and how it is called.
        g: the module under construction.
        args, kwargs: the operator's arguments, with an Array in place of each tensor.

    Raises:
        KernelError: the kernel does not take these arguments, or does something else
            than the operator says.
        NeedsExactSize: a result would have padding, or a number is a size.
        Unsupported: a number is only known when it is called.
    """
    return _Call(operation, g, args, kwargs).lower()


class _Output:
    """Stands for an array that the kernel is given to write a result into."""

    def __init__(self, value: Value) -> None:
        self.value = value


class _Call:
    def __init__(
        self,
        operation: NKIOperation,
        g: Graph,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> None:
        self.operation = operation
        self.g = g
        self.schema = _schema_of(operation.name)
        self.given = self._given(args, kwargs)
        self.results = g.results[: len(self.schema.returns)]

    def lower(self) -> Any:
        self._check_padding()
        outputs = self._outputs()
        embedded = self._traced(outputs)
        operands = embedded.operands
        values = emitted(self.g, embedded, [operand.value for operand in operands])
        aliases = embedded.interface.aliases
        written = {operands[i]: values[out] for out, i in aliases.items()}
        self._check_written(written)
        if self.operation.compiler_args:
            self.g.compiler_args.append(self.operation.compiler_args)
        if outputs:
            made = [self._written_to(o, i, written) for i, o in enumerate(outputs)]
        else:
            made = self._returned(embedded.returned(values), written)
        changed = [
            self._changed(argument.name, value, written)
            for argument, value in zip(self.schema.arguments, self.given)
            if argument.is_write and isinstance(value, Array)
        ]
        arrays = self._arrays([*made, *changed])
        return arrays[0] if len(self.g.results) == 1 and not changed else arrays

    # -- what the kernel is given ------------------------------------------------------
    def _given(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """The operator's arguments, in the order of its schema."""
        given = list(args)
        for argument in self.schema.arguments[len(given) :]:
            given.append(kwargs.get(argument.name, argument.default_value))
        return [self._with_numbers(value) for value in given]

    def _with_numbers(self, value: Any) -> Any:
        """An argument, with numbers in place of expressions of sizes.

        Raises:
            NeedsExactSize: they differ from call to call.
            Unsupported: they depend on what is no size of an input.
        """
        if isinstance(value, (tuple, list)):
            return [self._with_numbers(part) for part in value]
        if not hasattr(value, "free_symbols"):
            return value
        number = self.g.sizes.of(value)
        if isinstance(number, (int, float)):
            return number
        if number.free_symbols <= self.g.sizes.places.keys():
            raise NeedsExactSize("is an NKI kernel that takes a size", number)
        raise Unsupported(f"is an NKI kernel, and takes a number ({number}) of a call")

    def _check_padding(self) -> None:
        for array in _arrays_in(self.given):
            axes = range(array.ndim)
            self.g.require_prefix(array, "is an NKI kernel that takes arrays", axes)
        if self.operation.padding == "exact":
            sizes = [s for r in self.g.results for s in r.sizes]
            padded = [d.size for d in self.g.dims(sizes) if d.is_padded]
            if padded:
                raise NeedsExactSize("is an NKI kernel", *padded)

    def _outputs(self) -> list[_Output]:
        """What results are written into, if the kernel takes them as arguments."""
        parameters = _parameters(self.operation.kernel)
        if len(parameters) != len(self.given) + len(self.results):
            return []
        return [
            _Output(self.g.b.full(self._shape(result), 0, hlo_dtype(result.dtype)))
            for result in self.results
        ]

    def _shape(self, result: Result) -> tuple[int, ...]:
        return tuple(d.padded for d in self.g.dims(result.sizes))

    def _traced(self, outputs: Sequence[_Output]) -> Any:
        nki = language()
        if nki is None:
            raise self._error(
                "the package nkipy-nki traces NKI kernels, and is not installed"
            )
        specs = [_map(value, lambda a: _spec(nki, a)) for value in self.given]
        try:
            kernel = nki.as_kernel(self.operation.kernel)
            grid = self._grid()
            kernel = kernel[grid] if grid else kernel
            into = [_spec(nki, output) for output in outputs]
            return traced(nki, kernel, (*specs, *into))
        except Exception as error:  # whatever a kernel raises of its user's arguments
            shapes = ", ".join(a.value.shape_text() for a in _arrays_in(self.given))
            raise self._error(f"the kernel does not take {shapes}: {error}") from error

    def _grid(self) -> tuple[int, ...]:
        with unset_fake_temporarily():
            return self.operation.grid_of(*(_map(v, _meta) for v in self.given))

    # -- what it gives -----------------------------------------------------------------
    def _check_written(self, written: Mapping[Any, Value]) -> None:
        """Refuse a kernel that writes to what torch takes for unchanged."""
        names = [a.name for a in self.schema.arguments]
        for array in written:
            own = [n for n, v in zip(names, self.given) if array in _arrays_in([v])]
            if len(own) > 1:
                raise self._error(
                    f"the kernel writes to {own[0]}, and {own[1]} is the same tensor: "
                    "give a copy of it"
                )
        aliased = set(self.operation.alias_map.values())
        for i, (argument, value) in enumerate(zip(self.schema.arguments, self.given)):
            is_said = argument.is_write or i in aliased
            if not is_said and any(a in written for a in _arrays_in([value])):
                raise self._error(
                    f"the kernel writes to its argument {argument.name}, which the "
                    "operator does not say: name it in mutates_args, or in alias_map "
                    "if an output takes its memory"
                )

    def _written_to(
        self, output: _Output, number: int, written: Mapping[Any, Value]
    ) -> Value:
        """A result that the kernel has an argument for."""
        if output not in written:
            name = _parameters(self.operation.kernel)[len(self.given) + number]
            raise self._error(
                f"the kernel takes {name} besides the operator's arguments, so that it "
                f"would be result {number}, and does not write to it: let it write "
                "there, or return all results and take no more arguments"
            )
        return written[output]

    def _changed(self, name: str, value: Array, written: Mapping[Any, Value]) -> Value:
        """What an argument holds after that the operator writes to."""
        if value not in written:
            raise self._error(
                f"the operator writes to its argument {name}, and the kernel does not: "
                "leave it out of mutates_args, or let the kernel write to it"
            )
        return written[value]

    def _returned(self, made: Any, written: Mapping[Any, Value]) -> list[Value]:
        """The operator's results, of what the kernel returns and has written."""
        own = list(_flat(made))
        count, aliases = len(self.results), self.operation.alias_map
        if len(own) == count:
            return own
        if len(own) + len(aliases) != count or not aliases.keys() <= set(range(count)):
            raise self._error(
                f"the kernel returns {len(own)} arrays and has outputs {[*aliases]} in "
                f"alias_map, and the operator returns {count}"
            )
        rest = iter(own)
        return [
            self._aliased(aliases[i], written) if i in aliases else next(rest)
            for i in range(count)
        ]

    def _aliased(self, number: int, written: Mapping[Any, Value]) -> Value:
        value = self.given[number] if number < len(self.given) else None
        if value not in written:
            raise self._error(
                f"alias_map has an output that is argument {number}, and the kernel "
                "does not write to that"
            )
        return written[value]

    def _arrays(self, values: Sequence[Value]) -> tuple[Array, ...]:
        arrays = []
        for number, (value, result) in enumerate(zip(values, self.g.results)):
            dtype, shape = hlo_dtype(result.dtype), self._shape(result)
            if (value.shape, value.dtype) != (shape, dtype):
                raise self._error(
                    f"the kernel makes result {number} as {value.shape_text()}, and "
                    f"the operator's function for fake tensors says {result.dtype} "
                    f"{list(shape)}"
                )
            arrays.append(Array(value, self.g.dims(result.sizes)))
        return tuple(arrays)

    def _error(self, text: str) -> KernelError:
        location = self.g.b.current_source_location
        where = f"{location}: " if location else ""
        return KernelError(f"{where}{self.operation.name}: {text}")


def _schema_of(name: str) -> Any:
    library, _, operator = name.partition("::")
    return getattr(getattr(torch.ops, library), operator).default._schema


def _parameters(kernel: Any) -> list[str]:
    """The names of the parameters that a kernel must be given."""
    signature = inspect.signature(getattr(kernel, "func", kernel))
    positional = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )
    return [
        p.name
        for p in signature.parameters.values()
        if p.kind in positional and p.default is p.empty
    ]


def _spec(nki: Any, array: Array | _Output) -> Any:
    return nki.ArraySpec(array.value.shape, np.dtype(array.value.dtype), array)


def _meta(array: Array) -> torch.Tensor:
    return torch.empty(array.value.shape, dtype=array.dtype, device="meta")


def _map(value: Any, make: Any) -> Any:
    """`value` with something else in place of each Array."""
    if isinstance(value, (tuple, list)):
        return tuple(_map(part, make) for part in value)
    return make(value) if isinstance(value, Array) else value


def _flat(value: Any) -> list[Any]:
    if isinstance(value, (tuple, list)):
        return [leaf for part in value for leaf in _flat(part)]
    return [] if value is None else [value]


def _arrays_in(value: Any) -> list[Array]:
    return [leaf for leaf in _flat(value) if isinstance(leaf, Array)]
