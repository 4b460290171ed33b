"""Functions of compiled programs: threads, resets, what is loaded and let go of."""

from __future__ import annotations

import gc
import os
import signal
import threading
from typing import Any

import numpy as np
import pytest
import torch

import spike
import spike_torch
from nkipy.execution import LOADED
from spike_torch.programs import (
    Function,
    Variant,
)

from .program_functions import accumulated, compile_doubled, doubled, random, static

pytestmark = pytest.mark.usefixtures("filled_padding")


def test_threads_call_at_once_and_compile_once() -> None:
    attempts = []

    def compile(buckets: tuple[int, ...]) -> Variant:
        attempts.append(buckets)
        return compile_doubled(buckets)

    function = doubled(compile=compile)
    wrong = []

    def run(seed: int) -> None:
        for i in range(60):
            x = torch.full((1 + (seed + i) % 8, 3), float(seed * 100 + i)).to("nkipy")
            if not torch.equal(function([x])[0].cpu(), 2 * x.cpu()):
                wrong.append((seed, i))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sorted(attempts) == [(1,), (2,), (4,), (8,)]


def test_threads_while_programs_are_unloaded_and_memory_is_given_back() -> None:
    functions = [static(), doubled(), accumulated(2)]
    limit, wrong, done = LOADED.limit, [], threading.Event()

    def disturb() -> None:
        while not done.is_set():
            LOADED.evict()
            spike_torch.empty_cache()

    def run(seed: int) -> None:
        x = torch.full((2, 3), float(seed)).to("nkipy")
        for i in range(100):
            total = x.clone()
            functions[2]([total, x])
            (y,) = functions[0]([functions[1]([x])[0], total])
            if not torch.equal(y.cpu(), torch.full((2, 3), 4.0 * seed)):
                wrong.append((seed, i, y))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(1, 4)]
    other = threading.Thread(target=disturb)
    try:
        LOADED.limit = 2
        for thread in (other, *threads):
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        done.set()
        other.join()
        LOADED.limit = limit
    assert not wrong


def test_after_a_reset_programs_are_loaded_again() -> None:
    function = static()
    x, y = torch.randn(2, 3), torch.randn(2, 3)
    old = x.to("nkipy")
    assert torch.equal(function([x, y])[0], x + y)
    assert torch.equal(function([old, y])[0].cpu(), x + y)
    spike_torch.reset()
    assert torch.equal(function([x, y])[0], x + y)
    new = y.to("nkipy")
    assert torch.equal(function([new, y])[0].cpu(), y + y)
    with pytest.raises(RuntimeError, match="closed|freed"):
        function([old, y])


def test_a_program_that_was_unloaded_is_loaded_again() -> None:
    one, other = static(), doubled()
    x = random(2, 3)
    limit = LOADED.limit
    try:
        LOADED.limit = 1
        for _ in range(3):
            assert torch.equal(one([x, x])[0].cpu(), 2 * x.cpu())
            assert torch.equal(other([x])[0].cpu(), 2 * x.cpu())
            assert len(LOADED) == 1
            assert not one.variant([]).resident.is_loaded
            assert other.variant([2]).resident.is_loaded
    finally:
        LOADED.limit = limit
    assert one.variant([]).prepared_calls == 0


def test_prepared_calls_are_used_again_and_keep_no_memory() -> None:
    function = static()
    x, y = random(2, 3), random(2, 3)
    for _ in range(5):
        function([x, y])
    assert function.variant([]).prepared_calls == 1
    kept = [function([x, y]) for _ in range(100)]
    assert 1 < function.variant([]).prepared_calls < 100
    big = torch.empty(30 << 18, device="nkipy")
    large = static((30 << 18,))
    large([big, big])
    reserved = torch.nkipy.mem_get_info()[0]
    del big, kept
    gc.collect()
    spike_torch.empty_cache()
    assert large.variant([]).prepared_calls == 0
    assert torch.nkipy.mem_get_info()[0] >= reserved + (60 << 20)


def test_attached_memory_is_not_kept() -> None:
    function = static()
    y = random(2, 3)
    x = spike_torch.from_spike(spike.SpikeTensor.from_numpy(np.ones((2, 3), "f4")))
    assert torch.equal(function([x, y])[0].cpu(), 1 + y.cpu())
    assert function.variant([]).prepared_calls == 1
    del x
    assert function.variant([]).prepared_calls == 0


def test_functions_and_programs_go_with_who_has_them() -> None:
    import weakref

    function = doubled()
    function([random(2, 3)])
    variant = weakref.ref(function.variant([2]))
    holder: list[Any] = []
    loop = Function("f", [], [], [], [], [], lambda _, holder=holder: holder[0])
    holder.append(loop)
    del function, loop, holder
    gc.collect()
    assert variant() is None


def test_a_call_that_waits_for_a_program_can_be_interrupted() -> None:
    is_compiling, may_end = threading.Event(), threading.Event()

    def compile(buckets: tuple[int, ...]) -> Variant:
        is_compiling.set()
        may_end.wait(20)
        return compile_doubled(buckets)

    function, x = doubled(compile=compile), random(2, 3)
    other = threading.Thread(target=lambda: function([x]))
    other.start()
    is_compiling.wait(20)
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        function([x])
    may_end.set()
    other.join()
    assert torch.equal(function([x])[0].cpu(), 2 * x.cpu())
