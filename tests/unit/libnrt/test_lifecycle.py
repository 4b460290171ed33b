"""The order of calls: before the start, after the end, again, in between, forked."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.support import libnrt
from tests.support.libnrt import CLOSED, FAILURE, INVALID, UNINITIALIZED

# Every status that functions with plausible arguments give.
EVERY_FUNCTION = """
def statuses():
    buffer, out = ctypes.create_string_buffer(64), c_void_p()
    stats = MemoryStats()
    tensor = c_void_p(0x11000000000010)
    return {
        lib.nrt_tensor_allocate(0, 0, 8, b"t", byref(out)),
        lib.nrt_tensor_allocate_empty(b"t", byref(out)),
        lib.nrt_tensor_allocate_slice(tensor, 0, 1, b"t", byref(out)),
        lib.nrt_tensor_attach_buffer(tensor, buffer, 8),
        lib.nrt_tensor_read(tensor, buffer, 0, 8),
        lib.nrt_tensor_write(tensor, buffer, 0, 8),
        lib.nrt_tensor_copy(tensor, 0, tensor, 0, 8),
        lib.nrt_tensor_memset(tensor, 0, 0, 8),
        lib.nrt_tensor_read_batch(None, 0, False),
        lib.nrt_tensor_check_output_completion(tensor, -1, 1),
        lib.nrt_memcpy_to_device(buffer, buffer, 8),
        lib.nrt_allocate_tensor_set(byref(out)),
        lib.nrt_add_tensor_to_tensor_set(out, b"x", tensor),
        lib.nrt_load(buffer, 64, 0, 1, byref(out)),
        lib.nrt_execute(out, out, out),
        lib.nrt_unload(out),
        lib.nrt_get_vnc_memory_stats(0, byref(stats), 16, None),
        lib.nrt_barrier(0, 0, 1),
    }

def void_functions():
    tensor = c_void_p(0x11000000000010)
    assert lib.nrt_tensor_get_size(tensor) == 0
    assert lib.nrt_tensor_get_va(tensor) is None
    lib.nrt_tensor_free(byref(tensor))
    assert tensor.value is None
    lib.nrt_close()

def exempt_functions():
    assert nrt.count("nrt_get_total_nc_count") == 8
    assert nrt.count("nrt_get_visible_vnc_count") == 8
    assert lib.nrt_get_version(byref(Version()), 224) == 0
    assert lib.nrt_get_instance_info(byref(InstanceInfo()), 32) == 0
    assert lib.nrt_get_status_as_str(0) == b"NRT_SUCCESS"
"""


def run(locks: Path, code: str, **variables: str) -> tuple[str, str]:
    """Output and log of a process that has the functions above."""
    variables["NKIPY_EMULATOR_LOCK_DIR"] = str(locks)
    done = libnrt.run_python(EVERY_FUNCTION + textwrap.dedent(code), **variables)
    return done.stdout.strip(), done.stderr


def test_calls_outside_of_init_and_close(tmp_path: Path) -> None:
    code = """
    print(statuses()); void_functions(); exempt_functions()
    nrt.init(); exempt_functions(); nrt.close()
    print(statuses()); void_functions(); exempt_functions()
    """
    said, log = run(tmp_path, code)
    assert said.splitlines() == [f"{{{UNINITIALIZED}}}", f"{{{CLOSED}}}"]
    assert "nrt_execute" in log and "called before nrt_init" in log
    assert "called after nrt_close" in log


def test_a_second_start_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    code = """
    nrt.init()
    tensor = nrt.allocate(3)
    nrt.write(tensor, b"abc")
    print(lib.nrt_init(1, b"", b""), nrt.read(tensor, 3))
    """
    said, log = run(tmp_path, code)
    assert said == f"{INVALID} b'abc'"
    assert "initialised already" in log


def test_starting_again_after_closing(tmp_path: Path) -> None:
    """Handles of the first time are stale; memory and environment are fresh."""
    code = """
    os.environ["NEURON_RT_VISIBLE_CORES"] = "0-1"
    nrt.init()
    old = nrt.allocate(1000, core=1)
    tensors = c_void_p()
    nrt.check(lib.nrt_allocate_tensor_set(byref(tensors)))
    nrt.close()
    os.environ["NEURON_RT_VISIBLE_CORES"] = "4-6"
    nrt.init()
    new = nrt.allocate(8, core=2)
    print(nrt.count("nrt_get_visible_nc_count"), nrt.memory(1).bytes_used)
    buffer = ctypes.create_string_buffer(8)
    print(lib.nrt_tensor_read(old, buffer, 0, 1), lib.nrt_tensor_get_va(old))
    print(lib.nrt_add_tensor_to_tensor_set(tensors, b"x", new))
    nrt.write(new, b"12345678")
    for _ in range(20):
        nrt.close(); nrt.init(); nrt.allocate(10)
    nrt.close(); nrt.close()
    """
    said, _ = run(tmp_path, code)
    assert said.splitlines() == ["3 0", "3 None", "3"]


def test_a_failed_start_can_be_repeated(tmp_path: Path) -> None:
    code = """
    os.environ["NEURON_RT_VISIBLE_CORES"] = "9"
    print(lib.nrt_init(1, b"", b""), statuses())
    os.environ["NEURON_RT_VISIBLE_CORES"] = "1"
    nrt.init()
    nrt.allocate(8)
    """
    said, _ = run(tmp_path, code)
    assert said == f"{INVALID} {{{UNINITIALIZED}}}"


def test_ending_without_closing(tmp_path: Path) -> None:
    code = 'nrt.init(); t = [nrt.allocate(1 << 20) for _ in range(128)]; print("done")'
    assert run(tmp_path, code) == ("done", "")


def test_closing_wakes_who_waits(tmp_path: Path) -> None:
    code = """
    import threading, time
    nrt.init()
    tensor = nrt.allocate(8)
    said = []
    wait = lib.nrt_tensor_check_output_completion
    threads = [
        threading.Thread(target=lambda: said.append(wait(tensor, timeout, 1)))
        for timeout in (-1, 60_000_000)
    ]
    for thread in threads: thread.start()
    time.sleep(0.2)
    nrt.close()
    for thread in threads: thread.join(30)
    print(said)
    """
    assert run(tmp_path, code) == (f"[{CLOSED}, {CLOSED}]", "")


def test_closing_while_others_call(tmp_path: Path) -> None:
    """Calls that come too late fail; those under way are waited for."""
    code = """
    import threading
    seen = set()
    def use():
        while True:
            tensor, buffer = c_void_p(), ctypes.create_string_buffer(100_000)
            status = lib.nrt_tensor_allocate(0, 0, 100_000, b"t", byref(tensor))
            if not status:
                status = lib.nrt_tensor_write(tensor, buffer, 0, 100_000)
            lib.nrt_tensor_free(byref(tensor))
            seen.add(status)
            if status: return
    for _ in range(20):
        nrt.init()
        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads: thread.start()
        nrt.close()
        for thread in threads: thread.join(30)
    print(sorted(seen))
    """
    said, _ = run(tmp_path, code, NEURON_RT_LOG_LEVEL="QUIET")
    assert said in (f"[0, {CLOSED}]", f"[{CLOSED}]")


FORK = """
sys.stdout.flush()
child = os.fork()
if child == 0:
    in_child()
    sys.stdout.flush()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_forked_child_gets_errors_and_the_parent_goes_on(tmp_path: Path) -> None:
    code = f"""
    def in_child():
        void_functions()
        print(statuses(), lib.nrt_init(1, b"", b""))
        exempt_functions()
    nrt.init()
    tensor = nrt.allocate(3)
    {FORK.replace(chr(10), chr(10) + "    ")}
    nrt.write(tensor, b"abc")
    print(nrt.read(tensor, 3))
    nrt.close()
    """
    said, log = run(tmp_path, code)
    assert said.splitlines() == [f"{{{UNINITIALIZED}}} {FAILURE}", "b'abc'"]
    assert "forked" in log


@pytest.mark.parametrize("before", ["pass", "nrt.init(); nrt.close()"])
def test_a_child_of_a_process_without_runtime_may_start_one(
    tmp_path: Path, before: str
) -> None:
    code = f"""
    def in_child():
        nrt.init()
        tensor = nrt.allocate(3)
        nrt.write(tensor, b"abc")
        print(nrt.read(tensor, 3))
        nrt.close()
    {before}
    {FORK.replace(chr(10), chr(10) + "    ")}
    nrt.init()
    """
    assert run(tmp_path, code) == ("b'abc'", "")


def test_forking_while_others_call(tmp_path: Path) -> None:
    """Whatever locks the other threads hold at that moment, the child does not hang."""
    code = f"""
    import threading
    def in_child():
        assert statuses() == {{{UNINITIALIZED}}}
    nrt.init()
    stop = []
    def use():
        while not stop:
            nrt.free(nrt.allocate(100))
    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads: thread.start()
    for _ in range(20):
        {FORK.replace(chr(10), chr(10) + "        ")}
    stop.append(1)
    for thread in threads: thread.join()
    nrt.close()
    """
    assert run(tmp_path, code, NEURON_RT_LOG_LEVEL="QUIET") == ("", "")


def test_what_is_not_supported_says_so(tmp_path: Path) -> None:
    code = """
    nrt.init()
    out, size, fd = c_void_p(), c_size_t(), c_int()
    print(lib.nrt_get_hbm_mmap_va(0, 0, byref(out), byref(size)),
          lib.nrt_get_dmabuf_fd(0, 8, byref(fd)),
          lib.nrt_barrier(-1, 1, 2), lib.nrt_build_global_comm(0, 0, 2),
          lib.nrt_barrier(-1, 1, 1), lib.nrt_barrier(8, 0, 1))
    text = ctypes.create_string_buffer(8)
    print(lib.nrt_get_libnccl_net(byref(fd), text, 8), fd.value, text.value)
    source, target = ctypes.create_string_buffer(b"abc"), ctypes.create_string_buffer(3)
    nrt.check(lib.nrt_barrier(0, 0, 1))
    nrt.check(lib.nrt_all_gather(0, 0, 1, 3, source, target))
    print(target.raw)
    """
    said, log = run(tmp_path, code)
    assert said.splitlines() == [
        f"{INVALID} {FAILURE} {INVALID} {INVALID} {INVALID} {INVALID}",
        f"None {FAILURE} b'the emu'",
        "b'abc'",
    ]
    assert "nrt_get_dmabuf_fd" in log and "does not support" in log
