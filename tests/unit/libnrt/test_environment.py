"""Environment variables, instances and versions: what a process sees at its start."""

from __future__ import annotations

import ctypes
import re
from ctypes import byref
from pathlib import Path

import pytest

from tests.support import libnrt
from tests.support.libnrt import INVALID

COUNTS = """
counts = [
    nrt.count(f"nrt_get_{which}_{unit}_count")
    for which in ("total", "visible") for unit in ("nc", "vnc")
]
"""


def run(locks: Path, code: str, **variables: str) -> tuple[str, str]:
    """Output and log of a process."""
    variables["NKIPY_EMULATOR_LOCK_DIR"] = str(locks)
    done = libnrt.run_python(code, **variables)
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize(
    ("variables", "total", "visible"),
    [
        ({}, 8, 8),
        ({"NEURON_RT_VISIBLE_CORES": "3"}, 8, 1),
        ({"NEURON_RT_VISIBLE_CORES": "0-3"}, 8, 4),
        ({"NEURON_RT_VISIBLE_CORES": "3-5,6"}, 8, 4),
        ({"NEURON_RT_VISIBLE_CORES": " 1, 2 ,3-4 "}, 8, 4),
        ({"NEURON_RT_VISIBLE_CORES": "0-7"}, 8, 8),
        ({"NEURON_RT_NUM_CORES": "0"}, 8, 8),
        ({"NEURON_RT_NUM_CORES": "3"}, 8, 3),
        ({"NEURON_RT_NUM_CORES": "3", "NEURON_RT_VISIBLE_CORES": "7"}, 8, 1),
        ({"NEURON_LOGICAL_NC_CONFIG": "2"}, 4, 4),
        ({"NEURON_RT_VIRTUAL_CORE_SIZE": "2"}, 4, 4),
        ({"NKIPY_EMULATOR_INSTANCE": "trn2.3xlarge"}, 4, 4),
        (
            {
                "NKIPY_EMULATOR_INSTANCE": "trn2.48xlarge",
                "NEURON_LOGICAL_NC_CONFIG": "1",
                "NEURON_RT_VISIBLE_CORES": "120-127",
            },
            128,
            8,
        ),
        ({"NKIPY_EMULATOR_INSTANCE": "trn1"}, 2, 2),
        ({"NKIPY_EMULATOR_INSTANCE": "trn1.32xlarge"}, 32, 32),
        ({"NKIPY_EMULATOR_INSTANCE": "inf2.48xlarge"}, 24, 24),
        ({"NKIPY_EMULATOR_INSTANCE": "trn3"}, 8, 8),
    ],
    ids=lambda value: " ".join(value.values()) if isinstance(value, dict) else None,
)
def test_counts_are_the_same_before_and_after_start(
    tmp_path: Path, variables: dict[str, str], total: int, visible: int
) -> None:
    code = COUNTS + "print(counts); nrt.init()" + COUNTS + "print(counts)"
    expected = str([total, total, visible, visible])
    said, log = run(tmp_path, code, **variables)
    assert said.splitlines() == [expected, expected]
    assert log == ""


BAD_CORES = [
    *("a", "-1", "1-", "-", "1-2-3", "1,,2", ",1", "1,", "0x1", "1.5", "١"),
    *("3-1", "1,1", "0-3,2", "2,1", "0,2", "0-1,3"),
    *("8", "0-8", "7-8", "99999999999999999999", "4294967296", "5000"),
]


@pytest.mark.parametrize("cores", BAD_CORES)
def test_visible_cores_that_are_not_a_range(tmp_path: Path, cores: str) -> None:
    code = """
    count = c_uint32(7)
    print(lib.nrt_get_visible_nc_count(byref(count)), count.value,
          lib.nrt_init(1, b"", b""), lib.nrt_tensor_get_size(None))
    os.environ.pop("NEURON_RT_VISIBLE_CORES")
    nrt.init()
    """
    said, log = run(tmp_path, code, NEURON_RT_VISIBLE_CORES=cores)
    assert said == f"{INVALID} 7 {INVALID} 0"
    assert "NEURON_RT_VISIBLE_CORES" in log


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("NEURON_RT_NUM_CORES", "9"),
        ("NEURON_RT_NUM_CORES", "-1"),
        ("NEURON_RT_NUM_CORES", "two"),
        ("NEURON_LOGICAL_NC_CONFIG", "3"),
        ("NEURON_LOGICAL_NC_CONFIG", "0"),
        ("NEURON_RT_EXEC_TIMEOUT", "0"),
        ("NEURON_RT_EXEC_TIMEOUT", "soon"),
        ("NEURON_RT_VALIDATE_HASH", "maybe"),
        ("NEURON_FAIL_ON_NAN", "2"),
        ("NKIPY_EMULATOR_INSTANCE", "trn9"),
        ("NKIPY_EMULATOR_ENGINE", "gpu"),
        ("NKIPY_EMULATOR_HBM_BYTES", "1GB"),
        ("NKIPY_EMULATOR_HBM_BYTES", "99999999999999999999999"),
    ],
)
def test_a_malformed_variable_is_named(
    tmp_path: Path, variable: str, value: str
) -> None:
    code = 'print(lib.nrt_init(1, b"", b""))'
    said, log = run(tmp_path, code, **{variable: value})
    assert said == str(INVALID)
    assert variable in log and value in log


def test_two_physical_cores_per_logical_one_need_the_hardware(tmp_path: Path) -> None:
    said, log = run(
        tmp_path,
        'print(lib.nrt_init(1, b"", b""))',
        NKIPY_EMULATOR_INSTANCE="trn1.2xlarge",
        NEURON_LOGICAL_NC_CONFIG="2",
    )
    assert said == str(INVALID)
    assert "NEURON_LOGICAL_NC_CONFIG" in log and "trn1.2xlarge" in log


GIB, MIB = 1 << 30, 1 << 20


@pytest.mark.parametrize(
    ("variables", "limit"),
    [
        ({}, 12 * GIB - 96 * MIB),
        ({"NEURON_LOGICAL_NC_CONFIG": "2"}, 24 * GIB - 192 * MIB),
        ({"NKIPY_EMULATOR_INSTANCE": "trn1.2xlarge"}, 16 * GIB - 96 * MIB),
        ({"NKIPY_EMULATOR_INSTANCE": "trn3"}, 18 * GIB - 96 * MIB),
        ({"NKIPY_EMULATOR_HBM_BYTES": "1000"}, 1000),
    ],
)
def test_a_core_has_its_share_of_memory(
    tmp_path: Path, variables: dict[str, str], limit: int
) -> None:
    code = "nrt.init(); print(nrt.memory().bytes_used, nrt.memory().bytes_limit)"
    assert run(tmp_path, code, **variables) == (f"0 {limit}", "")


@pytest.mark.parametrize(
    ("name", "family", "size", "arch"),
    [
        ("trn1.2xlarge", 2, 1, b"NCv2"),
        ("trn1n.32xlarge", 3, 6, b"NCv2"),
        ("inf2.24xlarge", 4, 5, b"NCv2"),
        ("trn2.48xlarge", 5, 7, b"NCv3"),
        ("trn2u.48xlarge", 9, 7, b"NCv3"),
        ("trn3.48xlarge", 14, 7, b"NCv4"),
    ],
)
def test_an_instance_describes_itself(
    monkeypatch: pytest.MonkeyPatch, name: str, family: int, size: int, arch: bytes
) -> None:
    monkeypatch.setenv("NKIPY_EMULATOR_INSTANCE", name)
    info, lib = libnrt.InstanceInfo(), libnrt.load()
    assert lib.nrt_get_instance_info(byref(info), ctypes.sizeof(info)) == 0
    assert (info.family, info.size, info.arch_name) == (family, size, arch)
    assert info.device_revision == b"emu"
    older = libnrt.InstanceInfo(99, 99, b"kept")
    assert lib.nrt_get_instance_info(byref(older), 8) == 0
    assert (older.family, older.size, older.arch_name) == (family, size, b"kept")
    assert lib.nrt_get_instance_info(None, 32) == INVALID


def test_the_version_says_that_it_is_an_emulator() -> None:
    version, lib = libnrt.Version(), libnrt.load()
    assert lib.nrt_get_version(byref(version), ctypes.sizeof(version)) == 0
    assert version.major == 2
    assert version.detail.startswith(b"nkipy-emulator")
    short = libnrt.Version(9, 9, 9, 9)
    assert lib.nrt_get_version(byref(short), 16) == 0
    assert (short.major, short.minor, short.patch) == (2, version.minor, 9)
    longer = (libnrt.Version * 2)()
    assert lib.nrt_get_version(longer, ctypes.sizeof(longer)) == 0
    assert longer[0].detail == version.detail
    assert lib.nrt_get_version(byref(version), 0) == INVALID


# --- The log --------------------------------------------------------------------------

LINE = re.compile(
    r"\d{4}-[A-Z][a-z]{2}-\d\d \d\d:\d\d:\d\d\.\d{6} \d+:\d+ (\w+) +(\w+):(\w+) +(.+)"
)
FAILING = 'lib.nrt_tensor_read(None, None, 0, 0); nrt.init(); print("done")'


def test_a_line_of_the_log_has_the_documented_form(tmp_path: Path) -> None:
    _, log = run(tmp_path, FAILING)
    (line,) = log.splitlines()
    match = LINE.fullmatch(line)
    assert match, line
    assert match.groups() == (
        "ERROR",
        "NRT",
        "nrt_tensor_read",
        "called before nrt_init",
    )


@pytest.mark.parametrize(
    ("variables", "levels"),
    [
        ({"NEURON_RT_LOG_LEVEL": "INFO"}, {"ERROR", "INFO"}),
        ({"NEURON_RT_LOG_LEVEL": "info"}, {"ERROR", "INFO"}),
        ({"NEURON_RT_LOG_LEVEL_NRT": "INFO"}, {"ERROR", "INFO"}),
        ({"NEURON_RT_LOG_LEVEL_TDRV": "INFO"}, {"ERROR"}),
        ({"NEURON_RT_LOG_LEVEL": "QUIET"}, set()),
        (
            {"NEURON_RT_LOG_LEVEL": "INFO", "NEURON_RT_LOG_LEVEL_NRT": "ERROR"},
            {"ERROR"},
        ),
        ({"NEURON_RT_LOG_LEVEL": "nonsense"}, {"ERROR"}),
    ],
)
def test_the_log_level_is_obeyed(
    tmp_path: Path, variables: dict[str, str], levels: set[str]
) -> None:
    _, log = run(tmp_path, FAILING, **variables)
    matches = [LINE.fullmatch(line) for line in log.splitlines()]
    assert {match.group(1) if match else "?" for match in matches} == levels


def test_the_log_goes_into_a_file(tmp_path: Path) -> None:
    file = tmp_path / "nrt.log"
    for turn in (1, 2):  # appended to
        said, log = run(tmp_path, FAILING, NEURON_RT_LOG_LOCATION_NRT=str(file))
        assert (said, log) == ("done", "")
        assert file.read_text().count("before nrt_init\n") == turn


def test_a_location_that_cannot_be_written_falls_back(tmp_path: Path) -> None:
    _, log = run(tmp_path, FAILING, NEURON_RT_LOG_LOCATION=str(tmp_path / "no" / "x"))
    assert "called before nrt_init" in log


@pytest.mark.parametrize("suffix", ["", "_NRT", "_NMGR", "_TDRV"])
def test_an_unknown_log_level_is_told_and_stops_nothing(
    tmp_path: Path, suffix: str
) -> None:
    name = f"NEURON_RT_LOG_LEVEL{suffix}"
    said, log = run(tmp_path, 'nrt.init(); print("done")', **{name: "foo"})
    assert said == "done"
    assert log.count("\n") == 1
    assert f"{name} should be QUIET, ERROR, WARN, INFO, DEBUG or TRACE" in log
    assert 'but is "foo", which is taken for ERROR' in log


@pytest.mark.parametrize("suffix", ["", "_NRT", "_NMGR", "_TDRV"])
def test_a_log_file_that_cannot_be_opened_is_told(tmp_path: Path, suffix: str) -> None:
    name, file = f"NEURON_RT_LOG_LOCATION{suffix}", tmp_path / "no" / "x"
    said, log = run(tmp_path, 'nrt.init(); print("done")', **{name: str(file)})
    assert said == "done"
    assert log.count("\n") == 1
    assert f"{name}: {file}: No such file or directory; the log goes to" in log


def test_log_settings_that_can_be_obeyed_are_not_commented_on(tmp_path: Path) -> None:
    file = tmp_path / "nrt.log"
    _, log = run(
        tmp_path,
        'nrt.init(); print("done")',
        NEURON_RT_LOG_LEVEL="warning",
        NEURON_RT_LOG_LOCATION=str(file),
        NEURON_RT_LOG_LOCATION_NMGR="console",
        NEURON_RT_LOG_LOCATION_TDRV="syslog",
    )
    assert (log, file.read_text()) == ("", "")


def test_a_variable_of_the_past_is_warned_of(tmp_path: Path) -> None:
    _, log = run(
        tmp_path,
        'nrt.init(); print("done")',
        NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS="16",
        NEURON_RT_LOG_LEVEL="WARN",
    )
    assert "NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS is ignored" in log
