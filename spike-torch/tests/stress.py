"""Threads that use the devices in all ways at once, and look at what comes of it.

    python spike-torch/tests/stress.py --threads 8 --seconds 5

A program for the sanitizers (tools/sanitize.py) too: it needs neither pytest nor what
the tests have around them. It exits with 1 if a thread found something wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import torch

import spike_torch
from nkipy.execution import build, load
from nkipy.hlo import HLOBuilder, HLOModule
from spike_torch.programs import (
    Function,
    Input,
    Result,
    Returned,
    Size,
    Symbol,
    Variant,
)

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.int32, torch.uint8)


class Thread(threading.Thread):
    """One that does what is drawn, until the time is over or something is wrong."""

    #: Tensors that whoever comes takes, of a number each, so that threads free what
    #: others allocated.
    shared: list[tuple[torch.Tensor, int]] = []

    def __init__(self, seed: int, end: float) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.end = end
        self.held: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.error = ""
        self.rounds = 0

    def run(self) -> None:
        try:
            while time.monotonic() < self.end:
                self.random.choice(WAYS)(self)
                self.rounds += 1
        except BaseException:
            self.error = traceback.format_exc()

    def device(self) -> torch.device:
        return torch.device("nkipy", self.random.randrange(torch.nkipy.device_count()))

    def host(self) -> torch.Tensor:
        """A matrix of the CPU's, of any strides and dtype; few are large."""
        most = 600 if self.random.random() < 0.03 else 24
        rows, columns = (self.random.randint(1, most) for _ in range(2))
        made = torch.full((rows, columns), self.random.randrange(100))
        made = made.to(self.random.choice(DTYPES))
        made[0] = self.random.randrange(100)
        return made.t() if self.random.random() < 0.5 else made


def require_equal(found: torch.Tensor, wanted: torch.Tensor) -> None:
    if not torch.equal(found.cpu(), wanted):
        raise ValueError(f"got {found.cpu()}, and not {wanted}")


def copy_there_and_back(thread: Thread) -> None:
    host = thread.host()
    there = host.to(thread.device(), non_blocking=True)
    dtype = thread.random.choice(DTYPES)
    require_equal(there[:, ::2].to(dtype), host[:, ::2].to(dtype))
    other = there.to(thread.device(), dtype).t()
    require_equal(other, host.to(dtype).t())
    other.copy_(there[:1, :1].expand(other.shape))
    require_equal(other, host.to(dtype)[:1, :1].expand(other.shape))


def compute(thread: Thread) -> None:
    host = thread.host().float()
    there = host.to(thread.device())
    require_equal(there * 2 + there, host * 2 + host)
    require_equal(there.sort(0)[0], host.sort(0)[0])
    require_equal(torch.cat([there, there]).sum(0), torch.cat([host, host]).sum(0))
    there.mul_(3).resize_(there.numel() + 5)
    require_equal(there[: host.numel()].sum() * 0, torch.tensor(0.0))
    torch.arange(50, device=there.device)


def keep_for_a_while(thread: Thread) -> None:
    host = thread.host()
    thread.held.append((host.to(thread.device()), host))
    if len(thread.held) > 20:
        require_equal(*thread.held.pop(thread.random.randrange(20)))


def exchange(thread: Thread) -> None:
    number = thread.random.randrange(100)
    made = torch.full((thread.random.randint(1, 4000),), number, device=thread.device())
    Thread.shared.append((made, number))
    if len(Thread.shared) > 16:
        with contextlib.suppress(IndexError):
            other, number = Thread.shared.pop(0)
            require_equal(other, torch.full(other.shape, number))


def empty(thread: Thread) -> None:
    if thread.random.random() < 0.5:
        spike_torch.empty_cache()
    else:
        spike_torch.trim_cache(1 << 20, thread.device())


def run_out_of_memory(thread: Thread) -> None:
    with contextlib.suppress(torch.OutOfMemoryError):
        raise ValueError(torch.empty(1 << 50, device=thread.device()).shape)


def read_statistics(thread: Thread) -> None:
    device = thread.device()
    torch.nkipy.memory_summary(device)
    torch.nkipy.memory_snapshot()
    torch.nkipy.reset_peak_memory_stats(device)
    spike_torch.fallback_counts()
    if spike_torch.get_cached_blocks() < 0:
        raise ValueError("fewer blocks than none are free")


def draw(thread: Thread) -> None:
    seed = thread.random.randrange(1 << 40)
    device = thread.device()
    own = torch.Generator(device).manual_seed(seed)
    host = torch.Generator().manual_seed(seed)
    found = torch.rand(9, generator=own, device=device)
    require_equal(found, torch.rand(9, generator=host))
    with torch.nkipy.device(device):
        torch.nkipy.manual_seed(seed)
        torch.randn(5, device="nkipy")
        torch.nkipy.set_rng_state(torch.nkipy.get_rng_state(device), device)


def train(thread: Thread) -> None:
    host = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh())
    there = deepcopy(host).to(thread.device())
    inputs = torch.rand(3, 4)
    host(inputs).sum().backward()
    there(inputs.to(next(there.parameters()).device)).sum().backward()
    for ours, theirs in zip(there.parameters(), host.parameters()):
        if ours.grad is None or theirs.grad is None:
            raise ValueError("a parameter has no gradient")
        if not torch.allclose(ours.grad.cpu(), theirs.grad):
            raise ValueError(f"got {ours.grad}, and not {theirs.grad}")
    with torch.no_grad():  # as optimizers do, which take seconds to import
        parameters = list(there.parameters())
        torch._foreach_add_(parameters, [p.grad for p in parameters], alpha=-0.1)


def share_with_spike(thread: Thread) -> None:
    host = torch.full((thread.random.randint(1, 4000),), 3.0)
    there = spike_torch.from_spike(spike_torch.to_spike(host.to(thread.device())))
    require_equal(there, host)
    spike_torch.get_tensor_info(there.data_ptr())


def compile_doubled(buckets: tuple[int, ...]) -> Variant:
    shape = buckets[0], 3
    module = HLOModule("double")
    x = module.add_parameter(shape, np.dtype(np.float32), "x")
    module.set_results([HLOBuilder(module.entry).add(x, x)])
    return Variant.of(load(build(module), 0), [shape], [shape])


#: A function that all threads call: one program for each power of two of rows.
DOUBLED = Function(
    "double",
    ["x"],
    [Symbol("n", 0, 0)],
    [Input(0, torch.float32, (Size(0), 3))],
    [Result(torch.float32, (Size(0), 3))],
    [Returned(0)],
    compile_doubled,
)


def call_a_program(thread: Thread) -> None:
    """Of few sizes, whose programs others unload meanwhile."""
    host = torch.rand(thread.random.randint(1, 40), 3)
    there = host if thread.random.random() < 0.3 else host.to("nkipy:0")
    for _ in range(3):
        (made,) = DOUBLED([there])
        require_equal(made, host * 2)
    if thread.random.random() < 0.1:
        buckets = thread.random.choice(DOUBLED.compiled())
        DOUBLED.variant(buckets).resident.unload()


WAYS: tuple[Callable[[Thread], None], ...] = (
    *(copy_there_and_back, compute, keep_for_a_while, exchange, empty, train),
    *(run_out_of_memory, read_statistics, draw, share_with_spike, call_a_program),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    threads = [Thread(seed, end) for seed in range(options.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(*(thread.error for thread in threads if thread.error), sep="\n")
    print(f"{sum(t.rounds for t in threads)} rounds on {torch.nkipy.device_count()}")
    return 1 if any(thread.error for thread in threads) else 0


if __name__ == "__main__":
    sys.exit(main())
