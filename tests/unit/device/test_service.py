"""Loading programs and running them at addresses."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from neff import NeffError
from neff.status import NrtStatus
from nkipy.hlo.errors import HLOProtoError
from nkipy.hlo.ir import AliasInfo
from nkipy_emulator.cost_model import CostModelError, estimate
from nkipy_emulator.device.options import LoadOptions
from nkipy_emulator.device.program import read_program
from nkipy_emulator.device.service import load
from nkipy_emulator.device.status import DeviceError
from nkipy_emulator.neff_writer import ProgramDescription, neff_bytes
from tests.support.engines import no_prints
from tests.support.neffs import pack, tar_of, zipped
from tests.support.nrt_client import make_module, make_neff

X = np.arange(8, dtype=np.float32)
HERE = LoadOptions(target="trn2", lnc=1)


def negate(b, x):
    return b.negate(x)


def addresses(*arrays: np.ndarray) -> list[int]:
    return [a.ctypes.data for a in arrays]


def test_results_are_stored_at_the_addresses():
    program = load(make_neff(lambda b, x, y: (b.add(x, y), b.negate(x)), X, X), HERE)
    total, negative = np.zeros_like(X), np.zeros_like(X)
    program.execute(addresses(X, X * 2), addresses(total, negative), no_prints)
    np.testing.assert_array_equal(total, X * 3)
    np.testing.assert_array_equal(negative, -X)


@pytest.mark.parametrize("offset", [0, 4, 64])
def test_addresses_need_no_alignment(offset):
    memory = np.zeros(1 << 16, np.uint8)
    count = 5000
    source = memory[offset : offset + 4 * count].view(np.float32)
    target = memory[offset + 4 * count : offset + 8 * count].view(np.float32)
    source[...] = np.arange(count)
    program = load(make_neff(negate, source), HERE)
    program.execute(addresses(source), addresses(target), no_prints)
    np.testing.assert_array_equal(target, -np.arange(count, dtype=np.float32))


def test_outputs_may_be_inputs_in_another_order():
    a, b = (np.full(20000, v, np.float32) for v in (1, 2))
    program = load(make_neff(lambda _, x, y: (y, x), a, b), HERE)
    program.execute(addresses(a, b), addresses(a, b), no_prints)
    assert (a == 2).all() and (b == 1).all()


def test_a_wrong_number_of_addresses_is_an_error():
    program = load(make_neff(negate, X), HERE)
    with pytest.raises(ValueError, match="got 2 inputs; the module has 1"):
        program.execute([0, 0], [0], no_prints)
    with pytest.raises(ValueError, match="got 0 outputs; the module has 1"):
        program.execute(addresses(X), [], no_prints)
    with pytest.raises((OverflowError, TypeError)):
        program.execute([-1], [0], no_prints)


def test_the_description_has_what_clients_are_told():
    alias = AliasInfo(0, 1, "s", is_user_returned=False)
    names = ["d", "s.must_alias_input"]
    neff = make_neff(
        lambda b, d, s: b.add(d, s),
        *(X.reshape(2, 4), X.reshape(2, 4)),
        names=names,
        results=["s"],
        aliases=[alias],
        name="k.neff",
    )
    description = json.loads(load(neff, HERE).description)
    assert description.pop("program_bytes") > 100
    tensor = {"dtype": "float32", "shape": [2, 4], "nbytes": 32}
    assert description == {
        "name": "test",
        "target": "trn2",
        "lnc": 1,
        "ranks": 1,
        "inputs": [{"name": name, **tensor} for name in names],
        "outputs": [{"name": "s", **tensor}],
        "aliases": [[0, 1]],
    }


def large(b, x):
    return b.add(x, b.constant(np.arange(1 << 18, dtype=np.float32)))


@pytest.mark.parametrize(
    ("kernel", "shape"), [(negate, (8,)), (large, (1 << 18,))], ids=["later", "at_once"]
)
def test_the_estimate_is_that_of_the_cost_model(kernel, shape):
    module = make_module(kernel, np.zeros(shape, np.float32))
    neff = neff_bytes(module, ProgramDescription(target="trn2"))
    estimated = json.loads(load(neff, HERE).estimate())
    expected = estimate(module, "trn2")
    assert estimated["estimated_ns"] == expected.total_ns > 0
    rows = [line.split("\t") for line in estimated["timeline"].splitlines()]
    assert len(rows) == len(expected.events)
    assert all(len(row) == 7 for row in rows)


def test_the_cost_of_a_launch_is_that_of_the_load(monkeypatch):
    monkeypatch.setenv("NKIPY_EMULATOR_LAUNCH_NS", "0")
    program = load(make_neff(negate, X), HERE)
    monkeypatch.setenv("NKIPY_EMULATOR_LAUNCH_NS", "1000000")
    assert json.loads(program.estimate())["estimated_ns"] < 1_000_000


def test_the_cost_of_a_switch_is_that_of_the_load(monkeypatch):
    monkeypatch.setenv("NKIPY_EMULATOR_SWITCH_NS", "1234")
    program = load(make_neff(negate, X), HERE)
    monkeypatch.delenv("NKIPY_EMULATOR_SWITCH_NS")
    assert json.loads(program.estimate())["switch_ns"] == 1234
    monkeypatch.setenv("NKIPY_EMULATOR_SWITCH_NS", "soon")
    with pytest.raises(CostModelError, match="SWITCH_NS is a time in ns; .*'soon'"):
        load(make_neff(negate, X), HERE)


def test_what_has_no_estimate_is_not_loaded(monkeypatch):
    with pytest.raises(CostModelError, match="lnc"):
        load(make_neff(negate, X, lnc=9), LoadOptions())


def test_constants_count_as_memory_of_the_program():
    weights = np.arange(1 << 14, dtype=np.float32)
    neff = make_neff(lambda b, x: b.add(x, b.constant(weights)), weights)
    described = json.loads(load(neff, HERE).description)["program_bytes"]
    assert 1 * weights.nbytes < described < 3 * weights.nbytes


def status_of(neff: bytes, options: LoadOptions = HERE) -> NrtStatus:
    with pytest.raises(DeviceError) as error:
        read_program(neff, options)
    return error.value.status


def test_other_hardware_is_refused():
    assert status_of(make_neff(negate, X, target="trn1")) == 10
    assert status_of(make_neff(negate, X, lnc=2)) == NrtStatus.INVALID
    genuine = pack(zipped(tar_of({"neff.json": b"{}"})), feature_bits=0x209C00)
    assert status_of(genuine) == NrtStatus.UNSUPPORTED_NEFF_VERSION


@pytest.mark.parametrize(
    ("target", "here", "legacy", "runs"),
    [
        ("trn1", "trn2", True, True),
        ("trn2", "trn1", True, False),
        ("trn1", "trn2", False, False),
        ("inf2", "trn1", False, True),  # one generation
        ("trn3", "trn3", False, True),
        ("trn3", "", False, True),
        ("abc1", "trn2", True, False),
    ],
)
def test_generations(target, here, legacy, runs):
    options = LoadOptions(target=here, allow_legacy=legacy)
    neff = make_neff(negate, X, target=target)
    if runs:
        assert read_program(neff, options).neff.target == target
    else:
        assert status_of(neff, options) == NrtStatus.UNSUPPORTED_NEFF_VERSION


def test_a_description_must_be_that_of_the_program():
    for other in (X[:4], X.astype(np.int32), X.reshape(2, 4)):
        hlo = make_module(negate, other).serialize()
        neff = neff_bytes(make_module(negate, X), ProgramDescription(), hlo=hlo)
        assert status_of(neff) == NrtStatus.INVALID


def test_numerics_that_do_not_exist_are_refused():
    for numerics in ({"auto_cast": "some"}, {"speed": "high"}):
        assert status_of(make_neff(negate, X, numerics=numerics)) == NrtStatus.INVALID


def test_malformed_parts_are_errors_of_their_own():
    neff = make_neff(negate, X)
    with pytest.raises(NeffError):
        read_program(neff[:-5], HERE)
    broken = neff_bytes(make_module(negate, X), ProgramDescription(), hlo=b"\xff" * 40)
    with pytest.raises(HLOProtoError):
        read_program(broken, HERE)


def test_options_ignore_what_they_do_not_know():
    text = '{"target": "trn2", "lnc": 2, "world_size": 3, "colour": "blue"}'
    assert LoadOptions.from_json(text) == LoadOptions(
        target="trn2", lnc=2, world_size=3
    )
    assert LoadOptions.from_json("") == LoadOptions()


def test_jax_and_the_compiler_are_not_imported():
    """A cold first call shall be quick."""
    code = (
        "import sys, nkipy_emulator.device.api\n"
        "heavy = ('jax', 'scipy', 'torch', 'nkipy_emulator.compiler',\n"
        "         'nkipy_emulator.cost_model.model')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def empty_rows(b, x):
    return b.slice(x, (0,), (0,))


@pytest.mark.parametrize(
    ("build", "outputs"),
    [
        (lambda b, x: (empty_rows(b, x),), []),
        (lambda b, x: (empty_rows(b, x), b.negate(x)), ["output1"]),
        (lambda b, x: (b.negate(x), empty_rows(b, x)), ["output0"]),
        (lambda b, x: (empty_rows(b, x), empty_rows(b, x)), []),
    ],
    ids=["sole", "first", "last", "all"],
)
def test_results_without_elements_are_no_tensors(build, outputs):
    program = load(make_neff(build, X), HERE)
    described = json.loads(program.description)["outputs"]
    assert [t["name"] for t in described] == outputs
    made = [np.zeros_like(X) for _ in outputs]
    program.execute(addresses(X), addresses(*made), no_prints)
    for array in made:
        np.testing.assert_array_equal(array, -X)


def test_parameters_without_elements_are_no_tensors():
    alias = AliasInfo(1, 1, "x1", is_user_returned=True)
    neff = make_neff(
        lambda b, empty, x: (b.negate(empty), b.negate(x)),
        X[:0],
        X,
        names=["x0", "x1.must_alias_input"],
        results=["output0", "x1"],
        aliases=[alias],
    )
    program = load(neff, HERE)
    described = json.loads(program.description)
    assert [t["name"] for t in described["inputs"]] == ["x1.must_alias_input"]
    assert described["aliases"] == [[0, 0]] and program.input_count == 1
    x = X.copy()
    program.execute(addresses(x), addresses(x), no_prints)
    np.testing.assert_array_equal(x, -X)
