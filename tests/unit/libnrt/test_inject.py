"""Failures on request: the grammar, each function, each status, each moment."""

from __future__ import annotations

import ctypes
import re
from ctypes import byref, c_int, c_uint32

import pytest

from tests.support import libnrt
from tests.support.libnrt import INVALID, SUCCESS

STATUSES = {
    int(number): name
    for name, number in re.findall(
        r"(NRT_\w+) = (\d+)",
        (libnrt.include_dir() / "nrt" / "nrt_status.h").read_text(),
    )
    if int(number) != SUCCESS
}
BY_NAME = {name: number for number, name in STATUSES.items()}


def declared_functions() -> list[str]:
    """Functions of the public headers that return a status."""
    names = set()
    for header in (libnrt.include_dir() / "nrt").glob("*.h"):
        # nec.h is for the vendor's collectives library, and has no statuses.
        names |= set(re.findall(r"NRT_STATUS\s+(nrta?_\w+)\(", header.read_text()))
    return sorted(names)


FUNCTIONS = declared_functions()
NO_ARGUMENTS = [ctypes.c_void_p(0)] * 10


@pytest.fixture(scope="module")
def lib():
    return libnrt.load()


@pytest.fixture(autouse=True)
def no_rules(lib):
    yield
    assert inject(lib, "") == SUCCESS


def inject(lib, rules: str) -> int:
    return lib.nkipy_emulator_inject(rules.encode())


def visible_count(lib) -> int:
    """A function that needs no initialised runtime."""
    return lib.nrt_get_total_nc_count(byref(c_uint32()))


def statuses(lib, calls: int) -> list[int]:
    return [visible_count(lib) for _ in range(calls)]


def test_there_are_many_functions():
    assert len(FUNCTIONS) > 100
    assert {"nrt_execute", "nrta_execute_schedule", "nrt_init"} <= set(FUNCTIONS)


def test_each_function_fails_as_asked(tmp_path):
    # In a process of its own: functions get no sensible arguments.
    code = """
    from tests.unit.libnrt.test_inject import FUNCTIONS, NO_ARGUMENTS
    nrt.init()
    lib = ctypes.CDLL(str(libnrt.library_path()))
    for name in FUNCTIONS:
        assert lib.nkipy_emulator_inject(f"{name}=1205".encode()) == SUCCESS, name
        status = getattr(lib, name)(*NO_ARGUMENTS)
        assert status == 1205, (name, status)
    lib.nkipy_emulator_inject(None)
    nrt.check(nrt.lib.nrt_get_total_nc_count(byref(c_uint32())))
    nrt.close()
    """
    libnrt.run_python(code, NKIPY_EMULATOR_LOCK_DIR=str(tmp_path))


@pytest.mark.parametrize("status", STATUSES)
def test_each_status(lib, status):
    assert inject(lib, f"nrt_get_total_nc_count={status}") == SUCCESS
    assert statuses(lib, 2) == [status] * 2
    assert inject(lib, f"nrt_get_total_nc_count={STATUSES[status]}") == SUCCESS
    assert statuses(lib, 1) == [status]
    short = STATUSES[status].removeprefix("NRT_")
    assert inject(lib, f"nrt_get_total_nc_count={short}@2") == SUCCESS
    assert statuses(lib, 3) == [SUCCESS, status, SUCCESS]


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("", [6, 6, 6, 6, 6, 6]),
        ("@once", [6, 0, 0, 0, 0, 0]),
        ("@3", [0, 0, 6, 0, 0, 0]),
        ("@3+", [0, 0, 6, 6, 6, 6]),
        ("@%2", [0, 6, 0, 6, 0, 6]),
        (" @ %3 ", [0, 0, 6, 0, 0, 6]),
        ("@2; nrt_get_total_nc_count = 5 @ 2+", [0, 6, 5, 5, 5, 5]),
        ("@1, nrt_execute=1201,", [6, 0, 0, 0, 0, 0]),
    ],
)
def test_when(lib, when, expected):
    assert inject(lib, f"nrt_get_total_nc_count=6{when}") == SUCCESS
    assert statuses(lib, 6) == expected


def test_new_rules_count_anew(lib):
    rules = "nrt_get_total_nc_count=6@2"
    for _ in range(2):
        assert inject(lib, rules) == SUCCESS
        assert statuses(lib, 3) == [0, 6, 0]


def test_other_functions_go_on(lib):
    assert inject(lib, "nrt_execute=1201") == SUCCESS
    assert statuses(lib, 1) == [SUCCESS]


@pytest.mark.parametrize(
    "rules",
    [
        "nrt_execute",
        "nrt_execute=",
        "nrt_execute=0",
        "nrt_execute=NRT_SUCCESS",
        "nrt_execute=8",
        "nrt_execute=99999999999999999999",
        "nrt_execute=NRT_BROKEN",
        "nrt_execute=-1",
        "nrt_explode=1",
        "printf=1",
        "=1",
        "nrt_execute=1@",
        "nrt_execute=1@0",
        "nrt_execute=1@-1",
        "nrt_execute=1@%",
        "nrt_execute=1@1.5",
        "nrt_execute=1@twice",
        "nrt_execute=1; nrt_load",
        "nrta_execute_schedule.start=1",
    ],
)
def test_bad_rules_are_refused_and_the_old_ones_stay(lib, rules):
    assert inject(lib, "nrt_get_total_nc_count=6") == SUCCESS
    assert inject(lib, rules) == INVALID
    assert statuses(lib, 1) == [6]


def test_the_environment_is_read_by_nrt_init(tmp_path):
    code = """
    assert [lib.nrt_init(1, b"", b"") for _ in range(3)] == [4, 0, INVALID]
    tensor = c_void_p()
    allocate = lambda: lib.nrt_tensor_allocate(0, 0, 64, b"t", byref(tensor))
    assert [allocate() for _ in range(3)] == [0, 4, 0]
    nrt.close()
    os.environ["NKIPY_EMULATOR_INJECT"] = "nrt_tensor_allocate=1@1"
    nrt.init()
    assert [allocate() for _ in range(2)] == [1, 0]
    """
    libnrt.run_python(
        code,
        NKIPY_EMULATOR_INJECT="nrt_init=RESOURCE@once,nrt_tensor_allocate=4@2",
        NKIPY_EMULATOR_LOCK_DIR=str(tmp_path),
    )


def test_a_bad_environment_is_an_error_that_says_why(tmp_path):
    result = libnrt.run_python(
        "assert lib.nrt_init(1, b'', b'') == INVALID",
        NKIPY_EMULATOR_INJECT="nrt_execute=maybe",
        NKIPY_EMULATOR_LOCK_DIR=str(tmp_path),
    )
    assert "'nrt_execute=maybe': 'maybe' is no status of a failure" in result.stderr
    assert "FUNCTION=STATUS[@WHEN]" in result.stderr


def test_a_failed_call_does_nothing(tmp_path):
    code = """
    nrt.init()
    tensor = nrt.allocate(4)
    nrt.write(tensor, b"good")
    assert lib.nkipy_emulator_inject(b"nrt_tensor_write=6@1") == 0
    assert lib.nrt_tensor_write(tensor, b"evil", 0, 4) == 6
    assert nrt.read(tensor, 4) == b"good"
    nrt.write(tensor, b"best")
    assert nrt.read(tensor, 4) == b"best"
    """
    libnrt.run_python(code, NKIPY_EMULATOR_LOCK_DIR=str(tmp_path))


def test_the_integer_type_of_a_status():
    assert ctypes.sizeof(c_int) == 4
    assert BY_NAME["NRT_EXEC_HW_ERR_HBM_UE"] == 1201
