"""Layouts and values of the public headers, as a C and a C++ compiler see them."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from neff.status import NrtStatus
from tests.support import libnrt

HEADERS = sorted(path.name for path in (libnrt.include_dir() / "nrt").glob("*.h"))

SIZES = {
    "nrt_tensor_info_t": 296,
    "nrt_tensor_info_array_t": 8,
    "nrt_instance_info_t": 32,
    "nrt_version_t": 224,
    "nrt_vnc_memory_stats_t": 16,
    "nrt_tensor_device_allocation_info_t": 24,
    "nrt_tensor_batch_op_t": 24,
    "nrt_tensor_batch_t": 24,
    "nrt_model_info_t": 4,
    "nrt_ucode_info": 32,
    "ndebug_stream_event_header_t": 64,
    "ndebug_stream_payload_debug_tensor_read_t": 1024,
    "nrt_cc_comm_t": 32,
    "nrt_tensor_list_t": 16,
    "nrta_seq_t": 8,
    "nrta_xu_id_t": 2,
    "nec_version_info_t": 56,
    "struct nrt_version": 224,
    "struct nrt_instance_info": 32,
    "struct nrt_cc_comm": 32,
    "enum nrt_dtype": 4,
    "enum nrt_cc_op_type": 4,
    "NRT_STATUS": 4,
    "nrt_dtype_t": 4,
}
OFFSETS = {
    "nrt_tensor_info_t": {
        "name": 0,
        "usage": 256,
        "size": 264,
        "dtype": 272,
        "shape": 280,
        "ndim": 288,
    },
    "nrt_tensor_info_array_t": {"tensor_count": 0, "tensor_array": 8},
    "nrt_instance_info_t": {
        "family": 0,
        "size": 4,
        "arch_name": 8,
        "device_revision": 24,
    },
    "nrt_version_t": {
        "rt_major": 0,
        "rt_minor": 8,
        "rt_patch": 16,
        "rt_maintenance": 24,
        "rt_detail": 32,
        "git_hash": 160,
    },
    "nrt_vnc_memory_stats_t": {"bytes_used": 0, "bytes_limit": 8},
    "nrt_tensor_device_allocation_info_t": {
        "physical_address": 0,
        "size": 8,
        "hbm_index": 16,
    },
    "nrt_tensor_batch_op_t": {"offset": 0, "size": 8, "buffer": 16},
    "nrt_tensor_batch_t": {"tensor": 0, "ops": 8, "num_ops": 16},
    "ndebug_stream_event_header_t": {"data_size": 0, "type": 8, "reserved": 12},
    "ndebug_stream_payload_debug_tensor_read_t": {
        "prefix": 0,
        "logical_nc_id": 512,
        "pipe": 516,
        "tensor_dtype": 520,
        "tensor_shape": 536,
        "tensor_data_size": 600,
        "reserved0": 608,
        "tensor_data": 1024,
    },
    "nrt_cc_comm_t": {
        "replica_group": 0,
        "rank": 8,
        "rank_n": 12,
        "ctx_device_id": 16,
        "ctx_device_count": 20,
        "vnc": 24,
    },
}
STATUSES = {
    "SUCCESS": 0,
    "FAILURE": 1,
    "INVALID": 2,
    "INVALID_HANDLE": 3,
    "RESOURCE": 4,
    "TIMEOUT": 5,
    "HW_ERROR": 6,
    "QUEUE_FULL": 7,
    "LOAD_NOT_ENOUGH_NC": 9,
    "UNSUPPORTED_NEFF_VERSION": 10,
    "FAIL_HOST_MEM_ALLOC": 11,
    "UNINITIALIZED": 13,
    "CLOSED": 14,
    "QUEUE_EMPTY": 15,
    "EXEC_UNIT_UNRECOVERABLE": 101,
    "EXEC_BAD_INPUT": 1002,
    "EXEC_COMPLETED_WITH_NUM_ERR": 1003,
    "EXEC_COMPLETED_WITH_ERR": 1004,
    "EXEC_NC_BUSY": 1005,
    "EXEC_OOB": 1006,
    "COLL_PENDING": 1100,
    "EXEC_HW_ERR_COLLECTIVES": 1200,
    "EXEC_HW_ERR_HBM_UE": 1201,
    "EXEC_HW_ERR_NC_UE": 1202,
    "EXEC_HW_ERR_DMA_ABORT": 1203,
    "EXEC_SW_NQ_OVERFLOW": 1204,
    "EXEC_HW_ERR_REPAIRABLE_HBM_UE": 1205,
    "NETWORK_PROXY_FAILURE": 1206,
}
VALUES = {
    **{f"NRT_{name}": value for name, value in STATUSES.items()},
    "NRT_DTYPE_UNKNOWN": 0,
    "NRT_DTYPE_UINT64": 1,
    "NRT_DTYPE_INT8": 2,
    "NRT_DTYPE_UINT8": 3,
    "NRT_DTYPE_INT16": 4,
    "NRT_DTYPE_UINT16": 5,
    "NRT_DTYPE_BFLOAT16": 6,
    "NRT_DTYPE_FLOAT16": 7,
    "NRT_DTYPE_INT32": 8,
    "NRT_DTYPE_UINT32": 9,
    "NRT_DTYPE_FLOAT32": 10,
    "NRT_DTYPE_FP32R": 11,
    "NRT_DTYPE_INT64": 12,
    "NRT_DTYPE_FP8_E3": 13,
    "NRT_DTYPE_FP8_E4": 14,
    "NRT_DTYPE_FP8_E5": 15,
    "NRT_TENSOR_PLACEMENT_DEVICE": 0,
    "NRT_TENSOR_PLACEMENT_HOST": 1,
    "NRT_TENSOR_PLACEMENT_VIRTUAL": 2,
    "NRT_TENSOR_USAGE_INPUT": 0,
    "NRT_TENSOR_USAGE_OUTPUT": 1,
    "NRT_FRAMEWORK_TYPE_NO_FW": 1,
    "NRT_FRAMEWORK_TYPE_PRECHECK": 5,
    "NRT_INSTANCE_TRN1": 2,
    "NRT_INSTANCE_INF2": 4,
    "NRT_INSTANCE_TRN2": 5,
    "NRT_INSTANCE_TRN2U": 9,
    "NRT_INSTANCE_TRN3": 14,
    "NRT_INSTANCE_TRN3PDS98": 15,
    "NRT_INSTANCE_SIZE_1XL": 0,
    "NRT_INSTANCE_SIZE_48XL": 7,
    "NRT_INSTANCE_SIZE_3XL": 8,
    "NRTA_XU_TENSOR_OP": 0,
    "NRTA_XU_COMPUTE": 1,
    "NRTA_XU_COLLECTIVES": 2,
    "NRTA_SEQ_NUM_MAX": 2**48 - 1,
    "NRT_OP_INVALID": 15,
    "NRT_CC_ALLGATHER": 0,
    "NRT_CC_ALLREDUCE": 1,
    "NRT_CC_REDUCESCATTER": 2,
    "NRT_CC_OP_REDUCESCATTER": 2,
    "NRT_INSTANCE_SIZE_NUM": 10,
    "RT_VERSION_DETAIL_LEN": 128,
    "GIT_HASH_LEN": 64,
    "NEC_MAX_CHANNELS": 32,
    "NEC_MAX_COMM_N": 12,
    "NEC_MAX_STREAM_N": 4,
    "NEC_POD_TYPE_SWITCH": 2,
    "ENC_PATTERN_MESH": 1,
    "NRT_MAJOR_VERSION": 2,
    "NRT_MINOR_VERSION": 0,
}


def assertions() -> list[str]:
    """The tables as conditions."""
    sizes = [f"sizeof({name}) == {size}" for name, size in SIZES.items()]
    offsets = [
        f"offsetof({name}, {member}) == {offset}"
        for name, members in OFFSETS.items()
        for member, offset in members.items()
    ]
    return sizes + offsets + [f"{name} == {value}" for name, value in VALUES.items()]


LANGUAGES = [
    pytest.param("cc", "-std=c11", "_Static_assert", id="c"),
    pytest.param("c++", "-std=c++17", "static_assert", id="c++"),
]


def compile_only(compiler: str, standard: str, source: str) -> str:
    """What the compiler says of a source; nothing if all is well."""
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    language = "c++" if compiler == "c++" else "c"
    include = str(libnrt.include_dir())
    command = [compiler, standard, "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    done = subprocess.run(
        [*command, "-I", include, "-x", language, "-"],
        input=source,
        capture_output=True,
        text=True,
    )
    return done.stderr


@pytest.mark.parametrize(("compiler", "standard", "check"), LANGUAGES)
def test_layouts_and_values(compiler: str, standard: str, check: str) -> None:
    lines = ["#include <stddef.h>", *(f'#include "nrt/{name}"' for name in HEADERS)]
    lines += [f'{check}({each}, "{each}");' for each in assertions()]
    assert compile_only(compiler, standard, "\n".join(lines)) == ""


@pytest.mark.parametrize(("compiler", "standard", "check"), LANGUAGES)
@pytest.mark.parametrize("header", HEADERS)
def test_a_header_stands_alone(
    compiler: str, standard: str, check: str, header: str
) -> None:
    del check
    source = f"#include <nrt/{header}>\nint main() {{ return 0; }}\n".replace(
        "main()", "main(void)" if compiler == "cc" else "main()"
    )
    assert compile_only(compiler, standard, source) == ""


@pytest.mark.parametrize("name", STATUSES)
def test_a_status_has_its_name(name: str) -> None:
    lib = libnrt.load()
    assert lib.nrt_get_status_as_str(STATUSES[name]) == f"NRT_{name}".encode()


@pytest.mark.parametrize("value", [-1, 8, 12, 16, 1001, 2**31 - 1])
def test_other_numbers_have_none(value: int) -> None:
    assert libnrt.load().nrt_get_status_as_str(value) == b"NRT_STATUS_UNKNOWN"


def test_the_public_enumeration_of_statuses() -> None:
    assert {status.name: status.value for status in NrtStatus} == STATUSES
    assert NrtStatus.of(1006) is NrtStatus.EXEC_OOB and NrtStatus.of(8) == 8
