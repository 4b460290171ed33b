"""What a program takes and gives: its tensors, exactly, and which of them share memory.

The vendor's descriptive members leave some of this out, and libnrt does not say it
either: element types that it has no name for, and results that are written into an
input. So a NEFF may have a member of its own for it, :data:`INTERFACE_MEMBER`, which
any compiler may write and which counts before all else that the file says::

    {"format": "nkipy-interface", "version": 1,
     "inputs": [{"name": "x", "dtype": "float8_e5m2", "shape": [2], "nbytes": 2}],
     "outputs": [{"name": "y", "dtype": "bool", "shape": [2], "nbytes": 2}],
     "aliases": [{"output": 0, "input": 0}]}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

from neff.errors import NeffError
from neff.tar import Buffer
from neff.tensors import (
    UNKNOWN_DTYPE,
    Alias,
    TensorInfo,
    check_format,
    check_unique,
    expect_list,
    expect_object,
    parse_json,
)

#: The member's name within the tar.
INTERFACE_MEMBER = "nkipy/interface.json"
INTERFACE_FORMAT = "nkipy-interface"
INTERFACE_VERSION = 1
#: Without the member, output ``x`` is written into the input called ``x`` and this.
ALIAS_SUFFIX = ".must_alias_input"


class Interface(NamedTuple):
    """Inputs and outputs in order, and the pairs of them that are one memory."""

    inputs: list[TensorInfo]
    outputs: list[TensorInfo]
    aliases: list[Alias]

    @property
    def aliased_names(self) -> dict[str, str]:
        """Of each output that is written into an input, that input's name."""
        return {
            self.outputs[alias.output].name: self.inputs[alias.input].name
            for alias in self.aliases
        }

    def to_json(self) -> dict[str, Any]:
        """The content of the member."""
        return {
            "format": INTERFACE_FORMAT,
            "version": INTERFACE_VERSION,
            "inputs": [_to_json(t) for t in self.inputs],
            "outputs": [_to_json(t) for t in self.outputs],
            "aliases": [{"output": a.output, "input": a.input} for a in self.aliases],
        }


def _to_json(tensor: TensorInfo) -> dict[str, Any]:
    return {**vars(tensor), "shape": list(tensor.shape)}


def read_interface_member(members: Mapping[str, Buffer]) -> Interface | None:
    """What the member says; None where there is no such member.

    Raises:
        NeffError: it is malformed, or contradicts itself.
    """
    value = parse_json(members, INTERFACE_MEMBER)
    if value is None:
        return None
    fields = expect_object(value, INTERFACE_MEMBER)
    check_format(fields, INTERFACE_MEMBER, INTERFACE_FORMAT, INTERFACE_VERSION)
    return read_interface_fields(fields)


def read_interface_fields(fields: Mapping[str, Any]) -> Interface:
    """The tensors and aliases in fields of these names. Raises NeffError."""
    inputs, outputs = (_tensors(fields, what) for what in ("inputs", "outputs"))
    return Interface(inputs, outputs, _aliases(fields, inputs, outputs))


def aliases_by_name(
    inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]
) -> list[Alias]:
    """By the convention that input ``x.must_alias_input`` and output ``x`` are one."""
    by_name = {t.name: i for i, t in enumerate(inputs)}
    return [
        Alias(o, by_name[t.name + ALIAS_SUFFIX])
        for o, t in enumerate(outputs)
        if t.name + ALIAS_SUFFIX in by_name
    ]


def _tensors(interface: Mapping[str, Any], what: str) -> list[TensorInfo]:
    tensors = []
    for value in expect_list(interface.get(what), f"the program's {what}"):
        fields = expect_object(value, f"one of the program's {what}")
        tensor = TensorInfo.make(*(fields.get(k) for k in ("name", "dtype", "shape")))
        if tensor.dtype == UNKNOWN_DTYPE:
            raise NeffError(f"{tensor.name!r} has dtype {fields.get('dtype')!r:.80}")
        if fields.get("nbytes") != tensor.nbytes:
            raise NeffError(
                f"tensor {tensor.name!r}, {tensor.dtype}{list(tensor.shape)}, has "
                f"{tensor.nbytes} bytes, not {fields.get('nbytes')!r:.80}"
            )
        tensors.append(tensor)
    check_unique(what, tensors)
    return tensors


def _aliases(
    interface: Mapping[str, Any], inputs: list[TensorInfo], outputs: list[TensorInfo]
) -> list[Alias]:
    aliases = []
    for value in expect_list(interface.get("aliases"), "the program's aliases"):
        fields = expect_object(value, "an alias")
        o, i = fields.get("output"), fields.get("input")
        if not _is_index(o, outputs) or not _is_index(i, inputs):
            raise NeffError(
                f"an alias of output {o!r:.20} and input {i!r:.20}; there are "
                f"{len(outputs)} and {len(inputs)}"
            )
        if outputs[o].nbytes != inputs[i].nbytes:
            raise NeffError(
                f"output {outputs[o].name!r} has {outputs[o].nbytes} bytes, but input "
                f"{inputs[i].name!r}, its alias, {inputs[i].nbytes}"
            )
        aliases.append(Alias(o, i))
    for indices in ([a.output for a in aliases], [a.input for a in aliases]):
        if len(set(indices)) != len(indices):
            raise NeffError(f"a tensor is aliased twice: {aliases}")
    return aliases


def _is_index(value: Any, of: list[Any]) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < len(of)
