"""Writes the emulator's NEFFs.

The container and its descriptive members are those of a genuine NEFF, so that tools can
show what is in it. It has no machine code. Its program is HLO, and it asks for a
feature that no real runtime has, so that each refuses it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neff import (
    HLO_MEMBER,
    PROGRAM_FORMAT,
    PROGRAM_MEMBER,
    PROGRAM_VERSION,
    Alias,
    NeffHeader,
    TensorInfo,
)
from neff.container import EMULATOR_FEATURE_BIT, HEADER_SIZE, payload_hash
from neff.interface import INTERFACE_MEMBER, Interface
from neff.output_file import write_atomically
from neff.tensors import MAX_NAME
from nkipy.chips import DEFAULT
from nkipy.hlo.ir import HLOModule, Shape, TensorPlaceholder
from nkipy.hlo.queries import constant_bytes, world_size

COMPILER_NAME = "nkipy-emulator"
_NOTE = "made by nkipy's emulator: no machine code, runs on no Neuron device"
_NEFF_VERSION = (2, 0)
_PKG_VERSION = 2
#: Beyond this, compressing takes longer than it saves: large programs are weights.
_COMPRESS_UP_TO = 1 << 22


@dataclass(frozen=True, kw_only=True)
class ProgramDescription:
    """What a NEFF says of its program besides the HLO.

    Attributes:
        name: the NEFF's file name.
        target: the chip, such as "trn2".
        lnc: physical cores to a logical one.
        compiler_version: version of what made it.
        numerics: fields of nkipy's SimulationOptions by name.
        options: the compiler's other options, recorded only.
        compress: gzip the payload, if it is not a large one.
    """

    name: str = "file.neff"
    target: str = DEFAULT.name
    lnc: int = 1
    compiler_version: str = "0"
    numerics: Mapping[str, str | bool] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    compress: bool = True


def neff_bytes(
    module: HLOModule, description: ProgramDescription, hlo: bytes | None = None
) -> bytes:
    """A NEFF; equal arguments make equal bytes.

    Args:
        module: the program, verified.
        description: what to say of it.
        hlo: the module's serialised form, if it is there already.

    Raises:
        ValueError: a tensor's or the NEFF's name does not fit its place.
    """
    return b"".join(_parts(module, description, hlo))


def write_neff(
    path: str | os.PathLike[str],
    module: HLOModule,
    description: ProgramDescription,
    hlo: bytes | None = None,
) -> None:
    """Write a NEFF to `path`: whole, or not at all; see :mod:`.output_file`.

    Raises:
        ValueError: as :func:`neff_bytes`.
        OSError: the file cannot be written.
    """
    write_atomically(Path(path), *_parts(module, description, hlo))


def _parts(
    module: HLOModule, description: ProgramDescription, hlo: bytes | None
) -> list[bytes]:
    """Header and payload, in pieces: programs can be large, copies are not needed."""
    hlo = module.serialize() if hlo is None else hlo
    payload = _tar(_members(module, description, hlo))
    if description.compress and sum(map(len, payload)) <= _COMPRESS_UP_TO:
        payload = [gzip.compress(b"".join(payload), compresslevel=6, mtime=0)]
    return [_header(description, payload).pack(), *payload]


def _header(description: ProgramDescription, payload: list[bytes]) -> NeffHeader:
    digest = payload_hash(payload, _PKG_VERSION)
    return NeffHeader(
        pkg_version=_PKG_VERSION,
        header_size=HEADER_SIZE,
        data_size=sum(map(len, payload)),
        neff_version=_NEFF_VERSION,
        build_version=f"{COMPILER_NAME} {description.compiler_version}",
        num_tpb=1,
        hash=digest,
        # Not random: equal programs make equal files.
        uuid=hashlib.sha256(digest).digest()[:16],
        name=description.name,
        requested_tpb_count=1,
        tpb_per_node=bytes([1]) + bytes(63),
        feature_bits=EMULATOR_FEATURE_BIT,
        lnc_size=description.lnc,
    )


def _tar(members: Mapping[str, bytes]) -> list[bytes]:
    parts = []
    for name, content in members.items():
        info = tarfile.TarInfo(name)  # whose time and owner are 0
        info.size = len(content)
        header = info.tobuf(tarfile.USTAR_FORMAT)
        parts += [header, content, bytes(-len(content) % tarfile.BLOCKSIZE)]
    return [*parts, bytes(2 * tarfile.BLOCKSIZE)]


def _members(
    module: HLOModule, description: ProgramDescription, hlo: bytes
) -> dict[str, bytes]:
    interface = _interface(module).to_json()
    described = {
        "neff.json": _graph(interface),
        "info.json": _info(description),
        "metrics.json": {"emulated": True, "metrics": []},
        "hlo_stats.json": _statistics(module),
        "kelf-0.json": _kelf(description),
        "sg00/def.json": _definitions(interface),
        "sg00/tensor_map.json": _tensor_map(interface),
        INTERFACE_MEMBER: interface,
        PROGRAM_MEMBER: _program(module, description),
    }
    return {
        **{name: _json(value) for name, value in described.items()},
        HLO_MEMBER: hlo,
    }


def _json(value: Any) -> bytes:
    # Not indented: that is done in Python, and takes ten times as long.
    return json.dumps(value, sort_keys=True).encode() + b"\n"


def _program(module: HLOModule, description: ProgramDescription) -> dict[str, Any]:
    return {
        "format": PROGRAM_FORMAT,
        "version": PROGRAM_VERSION,
        "name": _printable(module.name),
        "target": description.target,
        "lnc": description.lnc,
        "ranks": world_size(module),
        "numerics": dict(description.numerics),
        "compiler": {
            "name": COMPILER_NAME,
            "version": description.compiler_version,
            "options": dict(description.options),
        },
    }


def _printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError(f"{name!r} has characters that no name should have")
    return name


def _interface(module: HLOModule) -> Interface:
    return Interface(
        [_tensor(p) for p in module.inputs],
        [_tensor(p) for p in module.outputs],
        [Alias(a.output_index, a.param_index) for a in module.aliases],
    )


def _tensor(tensor: TensorPlaceholder) -> TensorInfo:
    name = _printable(tensor.name)
    if len(name.encode()) > MAX_NAME:
        raise ValueError(f"tensor {name!r}: a name may have {MAX_NAME} bytes at most")
    nbytes = Shape(tensor.dtype, tensor.shape).nbytes
    return TensorInfo(name, tensor.dtype.name, tuple(tensor.shape), nbytes)


# ---------------------------------------------------------------- descriptive members


def _graph(interface: dict[str, Any]) -> dict[str, Any]:
    """neff.json: one node for each input, one for the program."""
    inputs, outputs = interface["inputs"], interface["outputs"]
    tensors = [*inputs, *outputs]
    nodes: list[dict[str, Any]] = [
        {"op": "null", "name": t["name"], "inputs": []} for t in inputs
    ]
    output_names = [t["name"] for t in outputs]
    nodes.append(
        {
            "op": "tvm_op",
            "name": "sg00",
            "inputs": [[i, 0, 0] for i in range(len(inputs))],
            "attrs": {"output_names": output_names, "num_outputs": len(outputs)},
        }
    )
    return {
        "nodes": nodes,
        "arg_nodes": list(range(len(inputs))),
        "heads": [[len(inputs), i, 0] for i in range(len(outputs))],
        "node_row_ptr": [*range(len(inputs) + 1), len(tensors)],
        "attrs": {
            "shape": ["list_shape", [t["shape"] for t in tensors]],
            "dltype": ["list_str", [t["dtype"] for t in tensors]],
        },
    }


def _info(description: ProgramDescription) -> dict[str, Any]:
    return {
        "name": description.name,
        "num_tpb": 1,
        "tool": COMPILER_NAME,
        "tool_version": f"{COMPILER_NAME} {description.compiler_version}",
        "note": _NOTE,
    }


def _kelf(description: ProgramDescription) -> dict[str, Any]:
    return {
        "version": "0.5",
        "target": f"emulated-{description.target}",
        "graphs": [],
        "emulated": True,
        "note": _NOTE,
    }


def _definitions(interface: dict[str, Any]) -> dict[str, Any]:
    variables = {
        t["name"]: {"type": kind, "size": t["nbytes"], "var_id": i}
        for i, (kind, t) in enumerate(
            [("input", t) for t in interface["inputs"]]
            + [("output", t) for t in interface["outputs"]]
        )
    }
    return {"dma_queue": {}, "var": variables, "emulated": True}


def _tensor_map(interface: dict[str, Any]) -> dict[str, Any]:
    return {
        t["name"]: {
            "dtype": t["dtype"],
            "kind": kind,
            "sim_shape": t["shape"],
            "tf_shape": t["shape"],
        }
        for kind in ("input", "output")
        for t in interface[f"{kind}s"]
    }


def _statistics(module: HLOModule) -> dict[str, Any]:
    opcodes = Counter(inst.opcode for inst in module.instructions())
    return {
        "computations": len(module.computations()),
        "instructions": sum(opcodes.values()),
        "opcodes": dict(opcodes),
        "constant_bytes": constant_bytes(module),
    }
