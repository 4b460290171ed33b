"""The library's name, and the table of what it exports under which version."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from tests.support import libnrt

pytestmark = pytest.mark.skipif(
    shutil.which("readelf") is None, reason="needs readelf of binutils"
)

# Every public function, by prefix. The lists are those of the interface's reference.
FUNCTIONS = {
    "nrt_": """
        init close get_version get_instance_info get_total_nc_count get_total_vnc_count
        get_visible_nc_count get_visible_vnc_count get_status_as_str set_pool_eng_ucode
        get_vnc_memory_stats host_device_id_get host_device_id_rid_map_get
        get_hbm_mmap_va get_dmabuf_fd get_dmabuf_fd_v2 get_attached_efa_bdf
        load load_collectives unload get_model_tensor_info free_model_tensor_info
        get_model_info get_model_instance_count get_model_nc_count get_model_vnc_count
        tensor_allocate tensor_free tensor_read tensor_write tensor_copy tensor_memset
        tensor_get_size tensor_get_va tensor_allocate_empty tensor_attach_buffer
        tensor_allocate_slice tensor_read_batch tensor_write_batch
        tensor_get_device_allocation_info tensor_check_output_completion
        tensor_reset_output_completion tensor_get_lnc_index memcpy_to_device
        allocate_tensor_set destroy_tensor_set add_tensor_to_tensor_set
        get_tensor_from_tensor_set
        execute execute_repeat register_async_exec_callback async_drain_queued_execs
        build_global_comm cc_global_comm_init barrier all_gather get_libnccl_net
        profile_start profile_stop profile_continuous_start profile_continuous_save
        profile_continuous_stop
        inspect_begin inspect_stop inspect_begin_with_options
        sys_trace_get_event_types sys_trace_free_event_types sys_trace_start
        sys_trace_stop sys_trace_fetch_events sys_trace_buffer_free
        trace_start trace_stop
        debug_client_connect debug_client_connect_close debug_client_read_one_event
    """,
    "nrt_async_sendrecv_": """
        get_max_num_communicators_per_lnc get_max_num_pending_request init close connect
        accept test_comm send_tensor recv_tensor test_request flush
    """,
    "nrt_profile_continuous_options_": "allocate free set_output_dir",
    "nrt_inspect_config_": """
        allocate set_defaults free set_session_id set_output_dir
        set_sys_trace_max_events_per_nc set_capture_enabled_for_nc
        set_capture_enabled_for_event_type_string set_enable_inspect
        set_enable_inspect_on_fail set_activity get_all_activity_types
        get_enabled_activity_types free_activity_types
        set_inspect_device_profile_mode
    """,
    "nrt_sys_trace_config_": """
        allocate set_defaults free set_max_events_per_nc set_capture_enabled_for_nc
        set_capture_enabled_for_event_type get_enabled_event_types
    """,
    "nrt_sys_trace_fetch_options_": """
        allocate set_defaults free set_max_events_per_nc set_nc_idx
    """,
    "nec_": """
        build_port_and_rid_map get_device_count get_device_pci_bdf
        get_dynamic_recv_offset_bytes get_dynamic_send_offset_bytes
        get_dynamic_send_size_bytes get_p2p_pod_peer_node get_peer_mla_idx
        get_version_info get_virtual_core_size inc_semaphore is_mla_available
        mla_idx_to_rid ndl_printk
        pod_node_can_access_peer_node rid_to_mla_idx set_recv_size_bytes
    """,
    # Of the asynchronous interface, what version 3 no longer has.
    "nrta_": """
        get_completion_handle error_tracker_create error_tracker_destroy
        error_tracker_get_list
    """,
}
ASYNCHRONOUS = """
    tensor_write tensor_read tensor_copy execute_schedule cc_prepare cc_schedule
    is_completed get_sequence event_register_seq_id_completion
    event_register_xu_completion
"""


def readelf(option: str) -> str:
    path = str(libnrt.library_path())
    return subprocess.run(
        ["readelf", "--wide", option, path], check=True, capture_output=True, text=True
    ).stdout


def exported() -> dict[str, str]:
    """Version by name of the functions and objects that the library defines."""
    pattern = re.compile(r" (?:FUNC|OBJECT|TLS) +\S+ +\S+ +\d+ +(\w+)@@([\w.]+)$", re.M)
    return dict(pattern.findall(readelf("--dyn-syms")))


def test_soname() -> None:
    assert "soname: [libnrt.so.1]" in readelf("--dynamic")


@pytest.mark.skipif(
    "NKIPY_TEST_LIBNRT" in os.environ, reason="a sanitizer needs the C++ runtime"
)
def test_it_depends_on_no_python_and_no_cpp_runtime() -> None:
    needed = re.findall(r"Shared library: \[(.*?)\]", readelf("--dynamic"))
    foreign = [name for name in needed if "python" in name or "stdc++" in name]
    assert foreign == []


def test_version_3_inherits_version_2() -> None:
    text = readelf("--version-info")
    assert re.search(r"Name: NRT_2\.0\.0", text)
    assert re.search(r"Name: NRT_3\.0\.0\n.*Parent 1: NRT_2\.0\.0", text)


def test_every_public_function_has_its_version() -> None:
    symbols = exported()
    for prefix, names in FUNCTIONS.items():
        for name in names.split():
            assert symbols.get(prefix + name) == "NRT_2.0.0", prefix + name
    for name in ASYNCHRONOUS.split():
        assert symbols.get("nrta_" + name) == "NRT_3.0.0", "nrta_" + name


def test_nothing_else_is_exported() -> None:
    unknown = [
        name
        for name in exported()
        if not re.match(r"(nrta?|nec|nkipy_emulator)_|NRT_|NKIPY_", name)
    ]
    assert unknown == []
