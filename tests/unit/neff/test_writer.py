"""NEFFs that the emulator's compiler writes, as the reader sees them."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from neff import Alias, NeffError, TensorInfo, read_neff
from neff.genuine import read_interface
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOModule
from nkipy_emulator.neff_writer import (
    ProgramDescription,
    neff_bytes,
    write_atomically,
    write_neff,
)
from tests.support.neffs import small_module

DESCRIPTION = ProgramDescription(
    name="kernel.neff",
    target="trn1",
    lnc=1,
    compiler_version="1.2",
    numerics={"auto_cast": "all", "auto_cast_type": "tf32", "fast_compile": True},
    options={"model_type": "transformer"},
)


def test_round_trip() -> None:
    module = small_module()
    neff = read_neff(neff_bytes(module, DESCRIPTION), validate_hash=True)
    assert neff.inputs == [
        TensorInfo("a.must_alias_input", "float32", (2, 3), 24),
        TensorInfo("b", "float32", (3, 4), 48),
    ]
    assert neff.outputs == [
        TensorInfo("output0", "float32", (2, 4), 32),
        TensorInfo("a", "float32", (2, 3), 24),
    ]
    assert neff.aliases == [Alias(output=1, input=0)]
    assert (neff.name, neff.target, neff.lnc) == ("kernel", "trn1", 1)
    assert neff.is_emulated and neff.compiler == "nkipy-emulator 1.2"
    assert dict(neff.numerics) == DESCRIPTION.numerics
    assert neff.program["compiler"]["options"] == {"model_type": "transformer"}
    assert neff.program["ranks"] == 1
    assert bytes(neff.hlo) == module.serialize()
    assert HLOModule.from_proto(neff.hlo).to_text() == module.to_text()


def test_header() -> None:
    header = read_neff(neff_bytes(small_module(), DESCRIPTION)).header
    assert (header.pkg_version, header.neff_version) == (2, (2, 0))
    assert header.name == "kernel.neff"
    assert header.build_version == "nkipy-emulator 1.2"
    assert (header.num_tpb, header.requested_tpb_count, header.lnc_size) == (1, 1, 1)
    # Bits that real runtimes are known to accept, or that genuine files have.
    known = 0x80000000000000FF | 0x209C00 | 0x201C00
    assert header.feature_bits & ~known


def test_dtypes_and_shapes() -> None:
    module = HLOModule("dtypes")
    dtypes = [
        np.dtype(t)
        for t in (
            *(np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32),
            *(np.int64, np.uint64, np.float16, np.float32),
            *(ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3),
            ml_dtypes.float8_e4m3fn,
        )
    ]
    shapes = [(), (3,), (0, 2), (2, 1, 5)]
    b = HLOBuilder(module.entry)
    for i, dtype in enumerate(dtypes):
        module.add_parameter(shapes[i % 4], dtype, f"x{i}")
    module.set_results([b.unary("copy", p) for p in list(module.parameters)])
    neff = read_neff(neff_bytes(module, DESCRIPTION))
    for i, (dtype, tensor) in enumerate(zip(dtypes, neff.outputs)):
        shape = shapes[i % 4]
        nbytes = np.empty(shape, dtype).nbytes
        assert tensor == TensorInfo(f"output{i}", dtype.name, shape, nbytes)


def test_equal_programs_make_equal_files() -> None:
    first, second = (neff_bytes(small_module(), DESCRIPTION) for _ in range(2))
    assert first == second
    assert first != neff_bytes(small_module(), ProgramDescription(target="trn3"))


def test_uncompressed_and_large_payloads_are_plain_tars() -> None:
    plain = neff_bytes(small_module(), ProgramDescription(compress=False))
    assert read_neff(plain, validate_hash=True).inputs[1].name == "b"
    tarfile.open(fileobj=io.BytesIO(plain[1024:]), mode="r:").close()
    module = HLOModule("constant")
    b = HLOBuilder(module.entry)
    noise = np.random.default_rng(0).random((1 << 21,), np.float32)
    module.set_results(b.unary("copy", b.constant(noise)))
    large = neff_bytes(module, ProgramDescription())
    tarfile.open(fileobj=io.BytesIO(large[1024:]), mode="r:").close()
    assert HLOModule.from_proto(read_neff(large).hlo).to_proto() == module.to_proto()


def test_descriptive_members_can_be_read_as_those_of_a_genuine_neff() -> None:
    neff = read_neff(neff_bytes(small_module(), DESCRIPTION))
    described = read_interface(neff.members)
    assert described.inputs == neff.inputs and described.outputs == neff.outputs
    only_map = {n: m for n, m in neff.members.items() if n != "neff.json"}
    by_map = read_interface(only_map)
    assert sorted(by_map.inputs, key=lambda t: t.name) == neff.inputs
    for name in ("info.json", "kelf-0.json"):
        assert "no machine code" in json.loads(bytes(neff.members[name]))["note"]
    statistics = json.loads(bytes(neff.members["hlo_stats.json"]))
    assert statistics["opcodes"]["dot"] == 1


def test_write_neff_is_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.neff"
    write_neff(path, small_module(), DESCRIPTION)
    good = path.read_bytes()
    assert good == neff_bytes(small_module(), DESCRIPTION)
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"other")
    assert os.listdir(tmp_path) == ["x.neff"] and path.read_bytes() == good


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("name", ["n" * 256, "new\nline"])
def test_names_that_no_tensor_can_have(name: str) -> None:
    module = HLOModule("m")
    parameter = module.add_parameter((1,), np.float32, name)
    module.set_results(HLOBuilder(module.entry).unary("copy", parameter))
    with pytest.raises(ValueError, match="name"):
        neff_bytes(module, DESCRIPTION)


def test_hlo_of_a_genuine_neff_is_an_error() -> None:
    from tests.support.neffs import pack, tar_of

    neff = read_neff(pack(tar_of({"info.json": b"{}"}), feature_bits=0x209C00))
    assert not neff.is_emulated
    with pytest.raises(NeffError, match="no HLO"):
        _ = neff.hlo
