"""Loading: what a model says of itself, what is refused and why, memory, handles."""

from __future__ import annotations

from ctypes import byref, c_char_p, c_size_t, c_uint32, c_void_p, sizeof
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from nkipy.hlo.ir import AliasInfo
from tests.support import nrt_client
from tests.support.libnrt import INVALID, INVALID_HANDLE, RESOURCE, MemoryStats
from tests.support.neffs import pack, tar_of, zipped
from tests.support.nrt_client import (
    UNSUPPORTED_NEFF_VERSION,
    Nrt,
    NrtFailure,
    make_neff,
)

X = np.arange(8, dtype=np.float32)
INPUT, OUTPUT = 0, 1


@pytest.fixture
def nrt(tmp_path):
    with nrt_client.session(tmp_path, cores=2) as nrt:
        yield nrt


def negate(b, x):
    return b.negate(x)


def refused(nrt: Nrt, neff: bytes, **where: int) -> int:
    """The status with which a load ends, and the runtime still works after it."""
    with pytest.raises(NrtFailure) as failure:
        nrt.load(neff, **where)
    nrt.unload(nrt.load(make_neff(negate, X)))
    return failure.value.status


def test_tensors_are_told_in_the_order_of_the_program(nrt):
    like = [X.reshape(2, 4), np.zeros((), np.int32), np.zeros((3, 1), np.uint8)]
    neff = make_neff(
        lambda b, z, a, m: (m, b.negate(z)), *like, names="zam", results=["y", "b"]
    )
    assert nrt.tensor_info(nrt.load(neff)) == [
        ("z", INPUT, 32, 0xA, [2, 4]),
        ("a", INPUT, 4, 0x8, []),
        ("m", INPUT, 3, 0x3, [3, 1]),
        ("y", OUTPUT, 3, 0x3, [3, 1]),
        ("b", OUTPUT, 32, 0xA, [2, 4]),
    ]


@pytest.mark.parametrize(
    ("dtype", "code"),
    [
        (np.float32, 0xA),
        (ml_dtypes.bfloat16, 0x6),
        (np.float16, 0x7),
        (np.int8, 0x2),
        (np.uint8, 0x3),
        (np.int16, 0x4),
        (np.uint16, 0x5),
        (np.int32, 0x8),
        (np.uint32, 0x9),
        (np.bool_, 0x3),  # as bytes
        (ml_dtypes.float8_e4m3, 0x2),  # as int8
        (ml_dtypes.float8_e5m2, 0x2),
    ],
)
def test_dtypes_have_the_codes_of_the_interface(nrt, dtype, code):
    like = np.zeros(4, dtype)
    model = nrt.load(make_neff(lambda b, x: x, like))
    assert [info[3] for info in nrt.tensor_info(model)] == [code, code]
    assert [info[2] for info in nrt.tensor_info(model)] == [like.nbytes] * 2


def test_tensor_information_is_freed_once_and_only_if_it_is_ours(nrt):
    model = nrt.load(make_neff(negate, X))
    info, memory = c_void_p(), (c_uint32 * 64)()
    nrt.call("get_model_tensor_info", model, byref(info))
    for foreign in (c_void_p(12345), byref(memory), model, c_void_p(info.value + 16)):
        assert nrt.lib.nrt_free_model_tensor_info(foreign) == INVALID
    nrt.unload(model)
    nrt.call("free_model_tensor_info", info)
    assert nrt.lib.nrt_free_model_tensor_info(info) == INVALID
    assert nrt.lib.nrt_free_model_tensor_info(None) == INVALID


def test_a_name_of_255_characters_is_told_whole(nrt):
    name = "n" * 255
    model = nrt.load(make_neff(negate, X, names=[name]))
    assert nrt.tensor_info(model)[0][0] == name


def test_a_model_knows_its_core_and_has_one_instance(nrt):
    model = nrt.load(make_neff(negate, X), core=1)
    info, size = c_uint32(77), c_size_t()
    nrt.call("get_model_info", model, byref(info), c_size_t(4), byref(size))
    assert (info.value, size.value) == (1, 4)
    for function in ("instance_count", "nc_count", "vnc_count"):
        count = c_uint32()
        nrt.call(f"get_model_{function}", model, byref(count))
        assert count.value == 1


def test_without_a_core_the_one_with_the_fewest_models_is_taken(nrt):
    neff = make_neff(negate, X)
    cores = []
    for _ in range(4):
        info, size = c_uint32(), c_size_t()
        model = nrt.load(neff, core=-1)
        nrt.call("get_model_info", model, byref(info), c_size_t(4), byref(size))
        cores.append(info.value)
    assert cores == [0, 1, 0, 1]


@pytest.mark.parametrize("core", [2, 99, -2])
def test_a_core_that_the_process_has_not_is_invalid(nrt, core):
    assert refused(nrt, make_neff(negate, X), core=core) == INVALID


def test_bytes_that_are_no_neff_are_invalid(nrt):
    neff = make_neff(negate, X)
    for bad in (b"x", b"\0" * 2048, neff[:1000], neff[:-1], neff + b"x", neff[:1500]):
        assert refused(nrt, bad) == INVALID


def test_no_bytes_are_invalid(nrt):
    model = c_void_p()
    for neff, size in ((None, 10), (b"abc", 0)):
        status = nrt.lib.nrt_load(c_char_p(neff), size, 0, 1, byref(model))
        assert status == INVALID
    neff = make_neff(negate, X)
    assert nrt.lib.nrt_load(neff, len(neff), 0, 1, None) == INVALID
    assert nrt.lib.nrt_load(neff, len(neff), 0, 0, byref(model)) == INVALID
    assert model.value is None


@pytest.mark.parametrize("padding", [0, 4096])
def test_a_genuine_neff_is_of_an_unsupported_version(nrt, capfd, padding):
    members = {"neff.json": b"{}", "sg00/pe.bin": b"\x7fELF" * 100}
    payload = zipped(tar_of(members)) + bytes(padding)
    genuine = pack(payload, feature_bits=0x209C00)
    assert refused(nrt, genuine) == UNSUPPORTED_NEFF_VERSION
    assert "machine code for a Neuron device" in capfd.readouterr().err


@pytest.mark.parametrize("target", ["trn1", "trn3", "inf2"])
def test_another_architecture_is_refused(nrt, capfd, target):
    neff = make_neff(negate, X, target=target)
    assert refused(nrt, neff) == UNSUPPORTED_NEFF_VERSION
    told = capfd.readouterr().err
    assert f"compiled for {target}, and this core is a trn2" in told
    assert ("NEURON_RT_ALLOW_LEGACY_NEFF" in told) == (target != "trn3")


def test_an_older_architecture_runs_if_allowed(tmp_path):
    with nrt_client.session(tmp_path, NEURON_RT_ALLOW_LEGACY_NEFF="1") as nrt:
        nrt.load(make_neff(negate, X, target="trn1"))
        newer = make_neff(negate, X, target="trn3")
        assert refused(nrt, newer) == UNSUPPORTED_NEFF_VERSION


def test_another_logical_core_size_is_refused(nrt, capfd):
    assert refused(nrt, make_neff(negate, X, lnc=2)) == INVALID
    told = capfd.readouterr().err
    assert "compiled with --lnc 2" in told and "1 physical core" in told
    assert "--lnc 1, or set NEURON_LOGICAL_NC_CONFIG=2" in told


def test_two_physical_cores_per_logical_core(tmp_path):
    with nrt_client.session(tmp_path, NEURON_LOGICAL_NC_CONFIG="2") as nrt:
        nrt.load(make_neff(negate, X, lnc=2))


def altered(neff: bytes) -> bytes:
    """The NEFF with another hash in its header."""
    return neff[:172] + bytes([neff[172] ^ 0xFF]) + neff[173:]


def test_the_hash_is_compared_if_asked_for(tmp_path):
    neff = make_neff(negate, X)
    with nrt_client.session(tmp_path) as nrt:
        nrt.load(altered(neff))
    with nrt_client.session(tmp_path, NEURON_RT_VALIDATE_HASH="true") as nrt:
        nrt.load(neff)
        assert refused(nrt, altered(neff)) == INVALID


def used(nrt: Nrt) -> int:
    stats, size = MemoryStats(), c_size_t()
    nrt.call(
        "get_vnc_memory_stats",
        *(c_uint32(0), byref(stats), c_size_t(sizeof(stats)), byref(size)),
    )
    return stats.bytes_used


def test_a_program_takes_memory_until_it_is_unloaded(nrt):
    weights = np.arange(1 << 16, dtype=np.float32)
    before = used(nrt)
    neff = make_neff(lambda b, x: b.add(x, b.constant(weights)), weights)
    model = nrt.load(neff)
    assert used(nrt) - before >= weights.nbytes
    nrt.unload(model)
    assert used(nrt) == before


def test_a_program_that_does_not_fit_is_refused(tmp_path):
    weights = np.arange(1 << 16, dtype=np.float32)
    neff = make_neff(lambda b, x: b.add(x, b.constant(weights)), weights)
    with nrt_client.session(tmp_path, NKIPY_EMULATOR_HBM_BYTES="200000") as nrt:
        assert refused(nrt, neff) == RESOURCE
        assert used(nrt) == 0


def test_handles_of_unloaded_models_are_recognised(nrt):
    model = nrt.load(make_neff(negate, X))
    nrt.unload(model)
    for call in (
        lambda: nrt.unload(model),
        lambda: nrt.tensor_info(model),
        lambda: nrt.unload(c_void_p(12345)),
        lambda: nrt.unload(nrt.empty(4)),  # a handle, but of a tensor
    ):
        with pytest.raises(NrtFailure) as failure:
            call()
        assert failure.value.status == INVALID_HANDLE
    with pytest.raises(NrtFailure) as failure:
        nrt.unload(c_void_p())
    assert failure.value.status == INVALID


@pytest.mark.parametrize(("rank", "world_size"), [(2, 2), (0, 0), (9, 2)])
def test_ranks_that_cannot_be_are_invalid(nrt, rank, world_size):
    neff, model = make_neff(negate, X), c_void_p()
    status = nrt.lib.nrt_load_collectives(
        *(neff, c_size_t(len(neff)), 0, 1, rank, world_size, byref(model))
    )
    assert status == INVALID


def test_a_description_that_contradicts_the_program_is_refused(nrt):
    from nkipy_emulator.neff_writer import ProgramDescription, neff_bytes

    module = nrt_client.make_module(negate, X)
    other = nrt_client.make_module(negate, X[:4])
    neff = neff_bytes(module, ProgramDescription(), hlo=other.serialize())
    assert refused(nrt, neff) == INVALID


def test_aliases_are_no_tensors_of_their_own(nrt):
    alias = AliasInfo(0, 0, "x", is_user_returned=False)
    names = ["x.must_alias_input"]
    neff = make_neff(negate, X, names=names, results=["x"], aliases=[alias])
    info = nrt.tensor_info(nrt.load(neff))
    assert [i[0] for i in info] == ["x.must_alias_input", "x"]


def test_files_load_as_well_as_bytes(nrt, tmp_path: Path):
    path = tmp_path / "k.neff"
    path.write_bytes(make_neff(negate, X))
    nrt.load(path.read_bytes())
