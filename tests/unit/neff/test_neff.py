"""What a NEFF says of its program: ours, the vendor's, and contradictions."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from neff import (
    HLO_MEMBER,
    INTERFACE_MEMBER,
    PROGRAM_MEMBER,
    Alias,
    NeffError,
    TensorInfo,
    read_neff,
)
from nkipy_emulator.neff_writer import ProgramDescription, neff_bytes
from tests.support.neffs import pack, small_module, tar_of, zipped


def _program(**changes: Any) -> dict[str, Any]:
    neff = read_neff(neff_bytes(small_module(), ProgramDescription()))
    return {**neff.program, **changes}


def _interface(**changes: Any) -> dict[str, Any]:
    neff = read_neff(neff_bytes(small_module(), ProgramDescription()))
    return {**json.loads(bytes(neff.members[INTERFACE_MEMBER])), **changes}


def _neff(program: Any, interface: Any = None, **header: Any) -> bytes:
    members = {PROGRAM_MEMBER: program, INTERFACE_MEMBER: interface or _interface()}
    texts = {
        name: value if isinstance(value, bytes) else json.dumps(value).encode()
        for name, value in members.items()
    }
    return pack(tar_of({**texts, HLO_MEMBER: b""}), **header)


def _tensor(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "t", "dtype": "int8", "shape": [2], "nbytes": 2}
    return {**tensor, **changes}


def test_the_unchanged_program_is_read() -> None:
    assert read_neff(_neff(_program())).aliases == [Alias(1, 0)]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"format": "other"}, "format 'other', version 3; expected"),
        ({"version": 4}, "version 4; expected"),
        ({"name": 3}, "'name' of nkipy/program.json is 3, not a string"),
        ({"name": "\ud800"}, "'name'"),
        ({"target": None}, "'target'"),
        ({"compiler": []}, "compiler is of type list, not an object"),
        ({"compiler": {"name": "x"}}, "'version'"),
        *(
            ({"ranks": value}, "'ranks' of nkipy/program.json is .* from 1 to")
            for value in (None, 0, -1, True, 1.5, "x", [], (1 << 20) + 1, 1 << 70)
        ),
        *(
            ({"lnc": value}, "'lnc' of nkipy/program.json is .* but the header has 1")
            for value in (None, 0, 2, True, 1.0, "x", 1 << 70)
        ),
        ({"numerics": None}, "numerics is missing"),
        ({"numerics": {"auto_cast": 1.5}}, "numerics option 'auto_cast' is 1.5"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(NeffError, match=text):
        read_neff(_neff(_program(**changes)))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"format": "other"}, "format 'other', version 1; expected"),
        ({"version": 2}, "version 2; expected"),
        ({"inputs": {}}, "inputs is of type dict, not a list"),
        ({"inputs": [3]}, "one of the program's inputs is of type int"),
        ({"inputs": [_tensor(name="")]}, "a tensor is called ''"),
        ({"inputs": [_tensor(name="\ud800")]}, "a tensor is called"),
        ({"inputs": [_tensor(name="n" * 256)]}, "expected 1 to 255 bytes"),
        ({"inputs": [_tensor(dtype="float128")]}, "dtype 'float128'"),
        ({"inputs": [_tensor(shape=[-1])]}, r"shape \[-1\]"),
        ({"inputs": [_tensor(shape=[True])]}, "shape"),
        ({"inputs": [_tensor(shape=[1 << 63])]}, "shape"),
        ({"inputs": [_tensor(shape=[1 << 40] * 3)]}, "bytes"),
        ({"inputs": [_tensor(shape=[1] * 65)]}, "shape"),
        ({"inputs": [_tensor(shape="ab")]}, "shape"),
        ({"inputs": [_tensor(nbytes=3)]}, r"int8\[2\], has 2 bytes, not 3"),
        ({"inputs": [_tensor()] * 2}, "two inputs are called 't'"),
        ({"aliases": [[1, 0]]}, "an alias is of type list"),
        ({"aliases": [{"output": 2, "input": 0}]}, "output 2 and input 0"),
        ({"aliases": [{"output": True, "input": 0}]}, "output True"),
        ({"aliases": [{"output": -1, "input": 0}]}, "output -1"),
        ({"aliases": [{"output": 0, "input": 0}]}, "32 bytes, but input"),
        ({"aliases": [{"output": 1, "input": 0}] * 2}, "aliased twice"),
    ],
)
def test_contradictions_of_the_interface_are_refused(
    changes: dict[str, Any], text: str
) -> None:
    interface = _interface(**changes)
    with pytest.raises(NeffError, match=text):
        read_neff(_neff(_program(), interface))
    # In a file of another compiler's too.
    members = {INTERFACE_MEMBER: json.dumps(interface).encode()}
    with pytest.raises(NeffError, match=text):
        read_neff(pack(tar_of(members), feature_bits=0))


def test_the_program_of_the_first_version_has_the_interface() -> None:
    program = {**_interface(), **_program(), "version": 1, "replicas": 1}
    neff = read_neff(_neff(program, b"no JSON"))
    assert neff.aliases == [Alias(1, 0)]
    with pytest.raises(NeffError, match="inputs is missing"):
        read_neff(_neff(_program(version=1, replicas=1)))


def test_the_number_of_ranks_in_older_files() -> None:
    program = _program(version=2, replicas=3)
    del program["ranks"]
    assert read_neff(_neff(program)).program["replicas"] == 3
    with pytest.raises(NeffError, match="'replicas' of nkipy/program.json is None"):
        read_neff(_neff(_program(version=2)))


def test_cores_of_the_header_and_the_program_agree() -> None:
    neff = read_neff(_neff(_program(lnc=2, ranks=64), lnc_size=2))
    assert (neff.lnc, neff.program["ranks"]) == (2, 64)
    with pytest.raises(NeffError, match="'lnc' .* is 1, but the header has 2"):
        read_neff(_neff(_program(lnc=1), lnc_size=2))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "no valid JSON"),
        (b"{", "no valid JSON"),
        (b"[" * 100_000, "no valid JSON"),
        (b"\xff", "no valid JSON"),
        (b"[]", "of type list, not an object"),
        (b'{"version": NaN}', "NaN is no number"),
        (b'{"version": ' + b"9" * 5000 + b"}", "no valid JSON"),
        (b" " * ((1 << 25) + 1), "is most"),
    ],
)
def test_what_is_no_description_is_refused(raw: bytes, text: str) -> None:
    with pytest.raises(NeffError, match=text):
        read_neff(_neff(raw))
    if raw:
        with pytest.raises(NeffError, match=text):
            read_neff(_neff(_program(), raw))


def test_the_marker_and_the_members_go_together() -> None:
    with pytest.raises(NeffError, match="feature bits 0x0"):
        read_neff(_neff(_program(), feature_bits=0))
    with pytest.raises(NeffError, match="without its member nkipy/program.json"):
        read_neff(pack(tar_of({})))
    texts = {PROGRAM_MEMBER: json.dumps(_program()).encode(), HLO_MEMBER: b""}
    with pytest.raises(NeffError, match="without its member nkipy/interface.json"):
        read_neff(pack(tar_of(texts)))
    with pytest.raises(NeffError, match="without its member nkipy/hlo.pb"):
        read_neff(pack(tar_of({PROGRAM_MEMBER: b"{}"})))


# ------------------------------------------------------------------ genuine NEFFs

_GRAPH = {
    "nodes": [
        {"op": "null", "name": "x.must_alias_input", "inputs": []},
        {"op": "null", "name": "w", "inputs": []},
        *(
            {"op": "tvm_op", "name": name, "attrs": {"output_names": ["x", "output1"]}}
            for name in ("sg00", "sg01")  # two physical cores to the logical one
        ),
    ],
    "attrs": {
        "shape": ["list_shape", [[4, 8], [8], [4, 8], [4]]],
        "dltype": ["list_str", ["bfloat16", "float32", "bfloat16", "int32"]],
    },
}
_MAP = {
    "w": {"dtype": "float32", "kind": "input", "sim_shape": [8], "tf_shape": [8]},
    "output1": {"dtype": "int32", "kind": "output", "sim_shape": [4]},
    "x": {"dtype": "bfloat16", "kind": "output", "tf_shape": [4, 8]},
    "x.must_alias_input": {"dtype": "bfloat16", "kind": "input", "tf_shape": [4, 8]},
    "scratch": {"dtype": "float8e4", "kind": "internal", "tf_shape": [1]},
}
_INPUTS = [
    TensorInfo("x.must_alias_input", "bfloat16", (4, 8), 64),
    TensorInfo("w", "float32", (8,), 32),
]
_OUTPUTS = [
    TensorInfo("x", "bfloat16", (4, 8), 64),
    TensorInfo("output1", "int32", (4,), 16),
]


def _genuine(padding: int = 0, **members: Any) -> bytes:
    """Laid out as reports describe the vendor's files; no such file was at hand."""
    named = {
        name.replace("__", "/") + ".json": json.dumps(value).encode()
        for name, value in members.items()
    }
    named["sg00/PE.bin"] = b"\x7fELF" * 100
    payload = zipped(tar_of(named)) + bytes(padding)
    return pack(payload, feature_bits=0x209C00, lnc_size=2, num_tpb=1)


def test_a_genuine_neff_is_described() -> None:
    neff = read_neff(
        _genuine(
            neff=_GRAPH,
            info={"tool_version": "2.23.6484", "name": "file.neff"},
            **{"kelf-0": {"target": "cayman", "version": "0.5"}},
        ),
        validate_hash=True,
    )
    assert (neff.inputs, neff.outputs) == (_INPUTS, _OUTPUTS)
    assert neff.aliases == [Alias(0, 0)]
    assert (neff.is_emulated, neff.lnc, neff.target) == (False, 2, "trn2")
    assert neff.compiler == "neuronx-cc 2.23.6484"
    assert "sg00/PE.bin" in neff.members


@pytest.mark.parametrize("padding", [3, 4096, 1 << 19])
def test_a_genuine_neff_that_is_padded_with_zeros(padding: int) -> None:
    neff = read_neff(_genuine(padding, neff=_GRAPH), validate_hash=True)
    assert (neff.inputs, neff.outputs) == (_INPUTS, _OUTPUTS)


def test_the_tensor_map_alone_will_do() -> None:
    neff = read_neff(_genuine(sg00__tensor_map=_MAP, sg01__tensor_map=_MAP))
    assert sorted(neff.inputs, key=lambda t: t.name) == _INPUTS[::-1]
    assert sorted(neff.outputs, key=lambda t: t.name) == _OUTPUTS[::-1]
    as_list = [{"name": name, **entry} for name, entry in _MAP.items()]
    listed = read_neff(_genuine(sg00__tensor_map=as_list))
    assert (listed.inputs, listed.outputs) == (neff.inputs, neff.outputs)


def test_the_map_fills_in_what_the_graph_leaves_out() -> None:
    bare = {"nodes": _GRAPH["nodes"]}
    neff = read_neff(_genuine(neff=bare, sg00__tensor_map=_MAP))
    assert (neff.inputs, neff.outputs) == (_INPUTS, _OUTPUTS)
    unknown = read_neff(_genuine(neff=bare))
    assert unknown.inputs[0] == TensorInfo("x.must_alias_input", "unknown", (), 0)


@pytest.mark.parametrize("names", ['["x", "output1"]', "x,output1"])
def test_output_names_in_one_string(names: str) -> None:
    node = {"op": "tvm_op", "output_names": names}
    graph = {**_GRAPH, "nodes": [*_GRAPH["nodes"][:2], node]}  # type: ignore[index]
    assert read_neff(_genuine(neff=graph)).outputs == _OUTPUTS


def test_a_genuine_neff_with_an_interface_is_described_by_it() -> None:
    interface = {
        **_interface(aliases=[]),
        "inputs": [_tensor(name="x", dtype="float8_e5m2")],
        "outputs": [_tensor(name="y", dtype="bool")],
    }
    neff = read_neff(_genuine(neff=_GRAPH, nkipy__interface=interface))
    assert neff.inputs == [TensorInfo("x", "float8_e5m2", (2,), 2)]
    assert neff.outputs == [TensorInfo("y", "bool", (2,), 2)]
    assert (neff.aliases, neff.is_emulated) == ([], False)


def test_a_neff_that_says_nothing_is_described_as_empty() -> None:
    neff = read_neff(_genuine())
    assert (neff.inputs, neff.outputs, neff.target) == ([], [], None)
    assert neff.compiler is None and neff.numerics == {}


@pytest.mark.parametrize(
    "graph",
    [
        [],
        {"nodes": 3},
        {"nodes": [3]},
        {"nodes": [{"op": "null", "name": 3}]},
        {"nodes": [], "attrs": []},
        {"nodes": [], "attrs": {"shape": {}}},
        {"nodes": [{"op": "x", "output_names": [3]}]},
        {"nodes": [{"op": "x", "output_names": "[" * 100_000}]},
        {"nodes": [{"op": "x", "output_names": {}}]},
    ],
)
def test_malformed_graphs(graph: Any) -> None:
    with pytest.raises(NeffError):
        read_neff(_genuine(neff=graph))


def test_reading_needs_only_the_standard_library() -> None:
    made = neff_bytes(small_module(), ProgramDescription())
    script = f"""
import sys
before = set(sys.modules)
import neff
neff.read_neff({made!r})
taken = {{name.partition(".")[0] for name in set(sys.modules) - before}}
assert taken <= {{"neff", *sys.stdlib_module_names}}, taken
"""
    subprocess.run([sys.executable, "-c", script], check=True)
