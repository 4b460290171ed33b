"""Collectives among processes, on the emulated device, against memcpy and Gloo.

Each rank is a process. A time is that of a program with an all-reduce beyond that of
the same one without. Gloo's, over loopback, is measured where torch can be imported.
A layer that is divided between two processes is compared with the whole in one.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import spike
from benchmarks.timing import Row, best, micros, print_table
from nkipy import distributed
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOModule
from nkipy.runtime import DeviceTensor, baremetal_jit
from nkipy.testing.ranks import run_ranks
from nkipy_emulator.neff_writer import ProgramDescription, neff_bytes

_ROUNDS = 15
#: Elements of float32, and how many calls one reading covers.
_SMALL, _LARGE = (1 << 10, 200), (1 << 24, 1)
#: Of the layer: rows and columns of its input, and how many calls are timed.
_ROWS, _WIDTH, _CALLS = 256, 1024, 60


def _program(elements: int, exchanges: bool) -> bytes:
    module = HLOModule("exchange" if exchanges else "alone")
    x = module.add_parameter((elements,), np.float32, "x")
    b = HLOBuilder(module.entry)
    y = b.negate(x)
    if exchanges:
        attributes = {"replica_groups": (), "to_apply": b.reducer("add", y.dtype)}
        y = b.emit("all-reduce", (y,), y.shape, y.dtype, attributes)
    module.set_results(y)
    return neff_bytes(module, ProgramDescription())


def _runs(elements: int, exchanges: bool, directory: str) -> Callable[[], Any]:
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    path = Path(directory) / f"{elements}-{exchanges}-{rank}.neff"
    path.write_bytes(_program(elements, exchanges))
    model = spike.SpikeModel.load_from_neff(
        str(path), cc_enabled=True, rank_id=rank, world_size=ranks
    )
    inputs = {"x": spike.SpikeTensor.from_numpy(np.ones(elements, np.float32))}
    name = next(iter(model.output_tensors_info))
    made = spike.SpikeTensor.from_numpy(np.zeros(elements, np.float32))
    return functools.partial(model, inputs, {name: made})


def _gloo(elements: int) -> Callable[[], Any] | None:
    if find_spec("torch") is None:
        return None
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    if not distributed.is_initialized():
        distributed.init_process_group("gloo")
    tensor = torch.ones(elements)
    return functools.partial(distributed.all_reduce, tensor)


def measure(elements: int, calls: int, directory: str) -> dict[str, float]:
    """The least seconds of a call by name, as all ranks run it at once."""
    source, target = np.ones(elements, np.float32), np.zeros(elements, np.float32)
    functions = {
        "exchange": _runs(elements, True, directory),
        "alone": _runs(elements, False, directory),
        "memcpy": functools.partial(np.copyto, target, source),
    }
    if gloo := _gloo(elements):
        functions["gloo"] = gloo
    meet = functions["exchange"]
    least = dict.fromkeys(functions, float("inf"))
    for _ in range(_ROUNDS):
        for name, function in functions.items():
            meet()
            function()
            meet()
            start = time.perf_counter()
            for _ in range(calls):
                function()
            took = (time.perf_counter() - start) / calls
            least[name] = min(least[name], took)
    return least


def run_rank() -> None:
    """Measure as the rank that the environment tells; rank 0 prints JSON."""
    with tempfile.TemporaryDirectory() as directory:
        taken = [measure(*size, directory) for size in (_SMALL, _LARGE)]
    if os.environ["RANK"] == "0":
        sys.stdout.write(json.dumps(taken) + "\n")


def of_ranks(ranks: int) -> list[dict[str, float]]:
    """What rank 0 of as many has measured: of the small operand, and of the large."""
    with tempfile.TemporaryDirectory() as locks, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port, another = probe.getsockname()[1], _free_port()
        common = {
            "NEURON_RT_ROOT_COMM_ID": f"127.0.0.1:{port}",
            "NKIPY_EMULATOR_LOCK_DIR": locks,
            "WORLD_SIZE": str(ranks),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(another),
        }
        probe.close()
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.bench_collectives", "rank"],
                env={
                    **os.environ,
                    **common,
                    **{"RANK": str(rank), "NEURON_RT_VISIBLE_CORES": str(rank)},
                },
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(ranks)
        ]
        try:
            texts = [process.communicate(timeout=300)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
    if any(process.returncode for process in processes):
        raise RuntimeError("a rank of the benchmark has failed")
    return json.loads(texts[0])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def table(ranks: int) -> list[Row]:
    """All-reduce over as many processes."""
    small, large = of_ranks(ranks)
    beyond, large_beyond = (s["exchange"] - s["alone"] for s in (small, large))
    aim = "<= 20 us" if ranks == 2 else "<= 100 us"
    rows = [Row(f"{ranks} ranks, 4 KB", micros(beyond), "", "", aim)]
    if "gloo" in small:
        of_gloo = f"{beyond / small['gloo']:.2f}"
        rows.append(Row("  of Gloo", "", micros(small["gloo"]), of_gloo, "<= 0.10"))
    of_memcpy = f"{large['memcpy'] / large_beyond:.2f}"
    peer, aim = micros(large["memcpy"]), ">= 0.25" if ranks == 2 else ""
    rows.append(
        Row(f"{ranks} ranks, 64 MB", micros(large_beyond), peer, of_memcpy, aim)
    )
    if "gloo" in large:
        of_gloo = f"{large_beyond / large['gloo']:.2f}"
        rows.append(Row("  of Gloo", "", micros(large["gloo"]), of_gloo, "<= 1.0"))
    return rows


def run_layer() -> None:
    """Time a layer of all ranks of the job, of which each has its part of the weights.

    (256, 1024) inputs, and 4096 hidden units. Rank 0 prints the seconds of a call.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((_ROWS, _WIDTH)).astype(np.float32)
    up, down = (
        (rng.standard_normal(shape) / shape[0] ** 0.5).astype(np.float32)
        for shape in ((_WIDTH, 4 * _WIDTH), (4 * _WIDTH, _WIDTH))
    )
    ranks = distributed.world_size()

    def layer(x: Any, up: Any, down: Any) -> Any:
        part = np.maximum(x @ up, 0) @ down
        if ranks == 1:
            return part
        return distributed.all_reduce(part, distributed.replica_groups())

    kernel = baremetal_jit(layer)
    args = (x, distributed.shard(up, 1), distributed.shard(down, 0))
    whole = np.maximum(x @ up, 0) @ down
    np.testing.assert_allclose(kernel(*args), whole, rtol=1e-3, atol=1e-3)
    resident = [DeviceTensor.from_numpy(np.ascontiguousarray(arg)) for arg in args]
    # As many calls by all ranks.
    seconds = best(functools.partial(kernel, *resident), seconds=0, least=_CALLS)
    if distributed.rank() == 0:
        sys.stdout.write(f"{seconds}\n")


def layer_row() -> Row:
    """Two processes of one XLA thread each, against one process of two."""
    least = {1: float("inf"), 2: float("inf")}
    command = [sys.executable, "-m", "benchmarks.bench_collectives", "layer"]
    for ranks in (1, 2) * 3:
        done = run_ranks(command, ranks, env={"NPROC": str(2 // ranks)})
        if any(result.status for result in done):
            raise RuntimeError(f"a rank of the benchmark has failed: {done}")
        least[ranks] = min(least[ranks], float(done[0].output))
    ratio = f"{least[1] / least[2]:.2f}"
    what = f"layer of two ranks ({_ROWS}, {_WIDTH})"
    return Row(what, micros(least[2]), micros(least[1]), ratio, ">= 0.9")


def main() -> None:
    """Print the tables for two and four ranks, and of the layer."""
    rows = [*table(2), *table(4)]
    if find_spec("torch") is None:
        sys.stdout.write("LEFT OUT: all-reduce by Gloo, as torch is not installed\n")
    print_table("All-reduce among processes, against memcpy by all ranks", rows)
    title = "Two processes, a thread each (peer: one of two threads; ratio: speed)"
    print_table(title, [layer_row()])


if __name__ == "__main__":
    run = {"rank": run_rank, "layer": run_layer}
    run[sys.argv[1]]() if sys.argv[1:] else main()
