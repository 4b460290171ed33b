"""Explicit asynchronous requests: order, completion, events, a full queue, failures."""

from __future__ import annotations

import os
import select
import threading
from ctypes import CFUNCTYPE, byref, c_int, c_uint32, c_uint64, c_void_p

import numpy as np
import pytest

from nkipy_emulator import register_custom_call, unregister_custom_call
from tests.support import nrt_client
from tests.support.libnrt import CLOSED, INVALID
from tests.support.nrt_client import (
    COLLECTIVES,
    COMPUTE,
    QUEUE_FULL,
    TENSOR_OP,
    UNRECOVERABLE,
    WITH_ERR,
    Nrt,
    NrtFailure,
    make_neff,
)

X = np.arange(8, dtype=np.float32)
UNTOUCHED = -12345
NUMBER = (1 << 48) - 1


@pytest.fixture
def nrt(tmp_path):
    with nrt_client.session(tmp_path, cores=2) as nrt:
        yield nrt


class Gate:
    """A model on a core whose executions wait until they are let through."""

    def __init__(self, nrt: Nrt, core: int = 0) -> None:
        self.nrt = nrt
        self.began, self.open = threading.Event(), threading.Event()
        self.seen: list[float] = []
        register_custom_call("Gate", self._handle)
        model = nrt.load(make_neff(_custom, X), core=core)
        self.x, self.out = nrt.tensor(X, core), nrt.tensor(X * 0, core)
        inputs = nrt.tensor_set({"x0": self.x})
        self.execution = model, inputs, nrt.tensor_set({"output0": self.out})

    def _handle(self, ins, outs, config):
        self.began.set()
        assert self.open.wait(30)
        self.seen.append(float(ins[0][0]))
        np.copyto(outs[0], ins[0] + 1)


def _custom(b, x):
    attributes = {"custom_call_target": "Gate"}
    return b.emit("custom-call", (x,), x.shape, x.dtype, attributes)


@pytest.fixture
def gate(nrt):
    gate = Gate(nrt)
    yield gate
    gate.open.set()
    unregister_custom_call("Gate")


def wait_until(condition) -> None:
    """Poll, for at most some seconds."""
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it never came to be")


def last_sequence(nrt: Nrt, unit: int, queue: int = 0, core: int = 0) -> int:
    sequence = c_uint64()
    where = (c_uint32(core), c_int(unit), c_int(queue))
    nrt.call("nrta_get_sequence", *where, byref(sequence))
    return sequence.value


def failure_of(call) -> int:
    with pytest.raises(NrtFailure) as failure:
        call()
    return failure.value.status


def test_submission_returns_at_once_and_completion_is_told(nrt, gate):
    status = c_int(UNTOUCHED)
    sequence = nrt.schedule(*gate.execution, status)
    gate.began.wait()
    assert not nrt.is_completed(sequence)
    assert status.value == UNTOUCHED
    gate.open.set()
    wait_until(lambda: nrt.is_completed(sequence))
    assert status.value == 0
    np.testing.assert_array_equal(nrt.read(gate.out, X.shape, X.dtype), X + 1)


def test_sequences_increase_and_requests_complete_in_order(nrt, gate):
    before = last_sequence(nrt, COMPUTE)
    assert before & NUMBER == 0
    sequences = [nrt.schedule(*gate.execution) for _ in range(5)]
    assert [s - before for s in sequences] == [1, 2, 3, 4, 5]
    gate.began.wait()
    assert last_sequence(nrt, COMPUTE) == before
    gate.open.set()
    wait_until(lambda: nrt.is_completed(sequences[-1]))
    assert all(nrt.is_completed(s) for s in sequences)
    assert last_sequence(nrt, COMPUTE) == sequences[-1]


def test_queues_of_units_and_cores_count_for_themselves(nrt):
    units = {
        last_sequence(nrt, unit, queue, core) >> 48
        for core in (0, 1)
        for unit, queues in ((TENSOR_OP, 2), (COMPUTE, 1), (COLLECTIVES, 3))
        for queue in range(queues)
    }
    assert len(units) == 12


@pytest.mark.parametrize(
    ("unit", "queue", "core"),
    [(COMPUTE, 1, 0), (TENSOR_OP, 2, 0), (COMPUTE, -1, 0), (3, 0, 0), (COMPUTE, 0, 2)],
)
def test_queues_that_do_not_exist_are_invalid(nrt, unit, queue, core):
    assert failure_of(lambda: last_sequence(nrt, unit, queue, core)) == INVALID


@pytest.mark.parametrize("sequence", [0, 1, 1 << 48, (1 << 48) + 1, (1 << 64) - 1])
def test_sequences_that_were_not_given_out_are_invalid(nrt, sequence):
    assert failure_of(lambda: nrt.is_completed(sequence)) == INVALID


def test_a_full_queue_refuses_and_takes_more_later(nrt, gate):
    taken = 0
    with pytest.raises(NrtFailure) as failure:
        for _ in range(1000):
            last = nrt.schedule(*gate.execution)
            taken += 1
    assert failure.value.status == QUEUE_FULL
    assert taken == 63
    gate.open.set()
    wait_until(lambda: nrt.is_completed(last))
    assert nrt.schedule(*gate.execution) == last + 1


def test_a_request_that_is_refused_takes_no_number(nrt, gate):
    gate.open.set()
    first = nrt.schedule(*gate.execution)
    model, inputs, outputs = gate.execution
    assert failure_of(lambda: nrt.schedule(model, outputs, outputs)) == INVALID
    assert failure_of(lambda: nrt.schedule(c_void_p(), inputs, outputs)) == INVALID
    assert nrt.schedule(*gate.execution) == first + 1


def test_a_failure_is_written_at_completion_and_later_requests_run(nrt, gate, capfd):
    gate.open.set()

    def fail(ins, outs, config):
        raise ValueError("not today")

    register_custom_call("Gate", fail)
    failing = nrt.load(make_neff(_custom, X))
    bad, good = c_int(UNTOUCHED), c_int(UNTOUCHED)
    nrt.schedule(failing, *gate.execution[1:], bad)
    last = nrt.schedule(*gate.execution, good)
    wait_until(lambda: nrt.is_completed(last))
    assert (bad.value, good.value) == (WITH_ERR, 0)
    assert "ValueError: not today" in capfd.readouterr().err


def readable(descriptor: int, seconds: float) -> bool:
    return bool(select.select([descriptor], [], [], seconds)[0])


def test_an_event_tells_of_one_request(nrt, gate):
    first, second = (nrt.schedule(*gate.execution) for _ in range(2))
    event = os.eventfd(0, os.EFD_NONBLOCK)
    register = "nrta_event_register_seq_id_completion"
    nrt.call(register, c_uint64(second), c_int(event))
    assert not readable(event, 0)
    gate.open.set()
    assert readable(event, 30)
    assert nrt.is_completed(second)
    assert os.eventfd_read(event) == 1
    nrt.call(register, c_uint64(first), c_int(event))  # long complete: at once
    assert os.eventfd_read(event) == 1
    assert failure_of(lambda: nrt.call(register, c_uint64(second + 1), event))
    os.close(event)


def test_a_registration_can_be_taken_back(nrt, gate):
    sequence = nrt.schedule(*gate.execution)
    event = os.eventfd(0, os.EFD_NONBLOCK)
    for descriptor in (event, -1):
        nrt.call(
            "nrta_event_register_seq_id_completion",
            *(c_uint64(sequence), c_int(descriptor)),
        )
    gate.open.set()
    wait_until(lambda: nrt.is_completed(sequence))
    assert not readable(event, 0.05)
    os.close(event)


def test_an_event_counts_the_completions_of_a_queue(nrt, gate):
    event = os.eventfd(0, os.EFD_NONBLOCK)
    register = "nrta_event_register_xu_completion"
    nrt.call(register, c_int(0), c_int(COMPUTE), c_int(0), c_int(event))
    gate.open.set()
    for _ in range(3):
        last = nrt.schedule(*gate.execution)
    wait_until(lambda: nrt.is_completed(last))
    assert os.eventfd_read(event) == 3
    nrt.call(register, c_int(0), c_int(COMPUTE), c_int(0), c_int(-1))
    last = nrt.schedule(*gate.execution)
    wait_until(lambda: nrt.is_completed(last))
    assert not readable(event, 0.05)
    os.close(event)


def test_synchronous_executions_keep_their_place_behind_queued_ones(nrt, gate):
    nrt.schedule(*gate.execution)
    gate.began.wait()
    thread = threading.Thread(target=nrt.execute, args=gate.execution)
    thread.start()
    assert gate.seen == []
    gate.open.set()
    thread.join()
    assert len(gate.seen) == 2


def test_tensors_move_through_their_queues(nrt):
    x, copy = nrt.tensor(X), nrt.tensor(X * 0)
    new, got = X + 7, np.zeros_like(X)
    statuses = [c_int(UNTOUCHED) for _ in range(3)]
    sequences = [c_uint64() for _ in range(3)]
    size, zero, core, queue = c_uint64(X.nbytes), c_uint64(0), c_int(0), c_int(1)

    def ends(i: int):
        return core, queue, byref(statuses[i]), byref(sequences[i])

    address = c_void_p(new.ctypes.data)
    nrt.call("nrta_tensor_write", x, address, zero, size, *ends(0))
    nrt.call("nrta_tensor_copy", x, zero, copy, zero, size, *ends(1))
    address = c_void_p(got.ctypes.data)
    nrt.call("nrta_tensor_read", address, copy, zero, size, *ends(2))
    wait_until(lambda: nrt.is_completed(sequences[2].value))
    assert [s.value for s in statuses] == [0, 0, 0]
    np.testing.assert_array_equal(got, new)


def test_transfers_beyond_the_tensor_or_on_another_core_are_invalid(nrt):
    x, sequence = nrt.tensor(X), c_uint64()
    buffer = c_void_p(X.ctypes.data)

    def write(offset: int, size: int, core: int = 0, data: c_void_p = buffer) -> None:
        where = (c_uint64(offset), c_uint64(size), c_int(core), c_int(0))
        nrt.call("nrta_tensor_write", x, data, *where, None, byref(sequence))

    for wrong in (
        lambda: write(0, X.nbytes + 1),
        lambda: write(X.nbytes, 1),
        lambda: write(2**64 - 4, 8),
        lambda: write(0, X.nbytes, core=1),
        lambda: write(0, X.nbytes, core=2),
        lambda: write(0, 4, data=c_void_p()),
    ):
        assert failure_of(wrong) == INVALID
    write(0, X.nbytes)


def test_the_callback_learns_of_executions(nrt, gate):
    told = []
    signature = CFUNCTYPE(None, c_void_p, c_uint32, c_uint32, c_uint64, c_int)
    callback = signature(lambda *args: told.append(args))
    nrt.call("register_async_exec_callback", callback, c_void_p(99))
    gate.open.set()
    sequence = nrt.schedule(*gate.execution)
    wait_until(lambda: nrt.is_completed(sequence))
    nrt.call("register_async_exec_callback", signature(0), None)
    ((params, model_id, core, job, status),) = told
    assert (params, core, job, status) == (99, 0, sequence, 0)
    assert model_id > 0


def test_draining_waits_for_what_is_queued(nrt, gate):
    last = [nrt.schedule(*gate.execution) for _ in range(3)][-1]
    threading.Timer(0.1, gate.open.set).start()
    nrt.call("async_drain_queued_execs", c_int(0))
    assert nrt.is_completed(last)
    nrt.call("async_drain_queued_execs", c_int(-1))
    assert failure_of(lambda: nrt.call("async_drain_queued_execs", c_int(2)))


def test_an_unrecoverable_failure_ends_the_queue(tmp_path):
    rule = "nrta_execute_schedule.completion=NRT_EXEC_UNIT_UNRECOVERABLE@2"
    with nrt_client.session(tmp_path, NKIPY_EMULATOR_INJECT=rule) as nrt:
        gate = Gate(nrt)
        statuses = [c_int(UNTOUCHED) for _ in range(3)]
        for status in statuses:
            last = nrt.schedule(*gate.execution, status)
        gate.open.set()
        wait_until(lambda: nrt.is_completed(last))
        assert [s.value for s in statuses] == [0, UNRECOVERABLE, UNRECOVERABLE]
        assert failure_of(lambda: nrt.schedule(*gate.execution)) == UNRECOVERABLE
        unregister_custom_call("Gate")
    with nrt_client.session(tmp_path) as nrt:
        gate = Gate(nrt)
        gate.open.set()
        last = nrt.schedule(*gate.execution)
        wait_until(lambda: nrt.is_completed(last))
        unregister_custom_call("Gate")


def test_closing_finishes_the_running_request_and_ends_the_others(tmp_path):
    with nrt_client.session(tmp_path) as nrt:
        gate = Gate(nrt)
        statuses = [c_int(UNTOUCHED) for _ in range(3)]
        for status in statuses:
            nrt.schedule(*gate.execution, status)
        gate.began.wait()
        threading.Timer(0.1, gate.open.set).start()
        nrt.close()
        unregister_custom_call("Gate")
        assert [s.value for s in statuses] == [0, CLOSED, CLOSED]


def test_a_model_may_be_unloaded_while_it_is_queued(nrt, gate):
    sequence = nrt.schedule(*gate.execution)
    gate.began.wait()
    nrt.unload(gate.execution[0])
    gate.open.set()
    wait_until(lambda: nrt.is_completed(sequence))
    np.testing.assert_array_equal(nrt.read(gate.out, X.shape, X.dtype), X + 1)
