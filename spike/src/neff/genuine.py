"""The inputs and outputs of a NEFF that the vendor's compiler made.

Its members have no published schema. Two of them name tensors: ``neff.json``, a graph
in the form that TVM gives to graphs, whose null nodes are the inputs; and
``<subgraph>/tensor_map.json``, with an entry for each tensor. The graph has the order,
the map the types; where one is missing, the other alone has to do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from neff.code_names import CODE_NAMES
from neff.errors import NeffError
from neff.interface import Interface, aliases_by_name
from neff.tar import Buffer
from neff.tensors import (
    UNKNOWN_DTYPE,
    TensorInfo,
    expect_list,
    expect_object,
    is_text,
    parse_json,
)


def read_interface(members: Mapping[str, Buffer]) -> Interface:
    """What the descriptive members say; empty where they say nothing. Aliases are by
    the names of the tensors.

    Raises:
        NeffError: a member is malformed.
    """
    inputs, outputs = _tensors(members)
    return Interface(inputs, outputs, aliases_by_name(inputs, outputs))


def _tensors(members: Mapping[str, Buffer]) -> Iterable[list[TensorInfo]]:
    """Inputs, and outputs."""
    typed = _tensor_map(members)
    graph = parse_json(members, "neff.json")
    if graph is None:
        return [_of_kind(typed, k) for k in ("input", "output")]
    inputs, outputs = _graph(expect_object(graph, "neff.json"))
    outputs = outputs or _of_kind(typed, "output")
    return [_merge(tensors, typed) for tensors in (inputs, outputs)]


def read_target(members: Mapping[str, Buffer]) -> str | None:
    """The chip by its usual name, or as the file has it; None where it has none."""
    kelf = parse_json(members, "kelf-0.json")
    if not isinstance(kelf, dict) or not is_text(kelf.get("target")):
        return None
    return CODE_NAMES.get(kelf["target"], kelf["target"])


def read_compiler(members: Mapping[str, Buffer]) -> str | None:
    """The compiler's name and version, by info.json."""
    info = parse_json(members, "info.json")
    if not isinstance(info, dict) or not is_text(info.get("tool_version")):
        return None
    return f"neuronx-cc {info['tool_version']}"


# ------------------------------------------------------------------ tensor_map.json


def _tensor_map(members: Mapping[str, Buffer]) -> dict[str, tuple[str, TensorInfo]]:
    """Kind and type of each tensor of all subgraphs; the first of a name counts."""
    found: dict[str, tuple[str, TensorInfo]] = {}
    for member in sorted(members):
        if member.rsplit("/", 1)[-1] != "tensor_map.json":
            continue
        for name, entry in _entries(parse_json(members, member), member):
            kind = entry.get("kind")
            if kind in ("input", "output"):
                shape = entry.get("tf_shape", entry.get("sim_shape", []))
                tensor = TensorInfo.make(name, entry.get("dtype"), shape)
                found.setdefault(name, (kind, tensor))
    return found


def _entries(value: Any, member: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """(name, fields) of a map by name, or of a list whose entries have names."""
    if isinstance(value, dict):
        for name, entry in value.items():
            if isinstance(entry, dict):
                yield name, entry
        return
    for entry in expect_list(value, member):
        fields = expect_object(entry, f"an entry of {member}")
        yield fields.get("name"), fields


def _of_kind(typed: dict[str, tuple[str, TensorInfo]], kind: str) -> list[TensorInfo]:
    return [tensor for k, tensor in typed.values() if k == kind]


def _merge(
    tensors: list[TensorInfo], typed: dict[str, tuple[str, TensorInfo]]
) -> list[TensorInfo]:
    """`tensors`, those of unknown type as the map has them."""
    return [
        typed[t.name][1] if t.dtype == UNKNOWN_DTYPE and t.name in typed else t
        for t in tensors
    ]


# ------------------------------------------------------------------ neff.json


def _graph(graph: dict[str, Any]) -> tuple[list[TensorInfo], list[TensorInfo]]:
    """Inputs, and outputs."""
    types = _GraphTypes(graph)
    inputs: list[TensorInfo] = []
    outputs: dict[str, TensorInfo] = {}
    entry = 0
    for value in expect_list(graph.get("nodes"), "neff.json's list of nodes"):
        node = expect_object(value, "a node of neff.json")
        if node.get("op") == "null":
            inputs.append(types.tensor(node.get("name"), entry))
            entry += 1
            continue
        for name in _output_names(node):
            # A program for two physical cores has a node, with all names, for each.
            outputs.setdefault(name, types.tensor(name, entry))
            entry += 1
    return inputs, list(outputs.values())


class _GraphTypes:
    """Shapes and element types: one for each node's each result, in order."""

    def __init__(self, graph: dict[str, Any]) -> None:
        attributes = graph.get("attrs", {})
        self.shapes = _attribute(attributes, "shape")
        self.dtypes = _attribute(attributes, "dltype")

    def tensor(self, name: Any, entry: int) -> TensorInfo:
        if entry < min(len(self.shapes), len(self.dtypes)):
            return TensorInfo.make(name, self.dtypes[entry], self.shapes[entry])
        return TensorInfo.make(name, UNKNOWN_DTYPE, [])


def _attribute(attributes: Any, name: str) -> list[Any]:
    """The list of an attribute of the form ``["list_shape", [...]]``."""
    value = expect_object(attributes, "neff.json's attrs").get(name, [])
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
        value = value[1]
    return expect_list(value, f"attribute {name!r} of neff.json")


def _output_names(node: dict[str, Any]) -> list[str]:
    attributes = node.get("attrs", {})
    names = node.get("output_names")
    if names is None and isinstance(attributes, dict):
        names = attributes.get("output_names")
    if isinstance(names, str):
        names = _split_names(names)
    if names is None:
        return []
    if not all(isinstance(n, str) for n in expect_list(names, "output_names")):
        raise NeffError(f"output_names of neff.json are {names!r:.80}")
    return list(names)


def _split_names(text: str) -> Any:
    """Names in one string: a list in JSON, or joined with commas."""
    if text.startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise NeffError(f"output_names of neff.json are {text!r:.80}") from None
    return text.split(",")
