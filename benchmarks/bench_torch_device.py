"""The torch device "nkipy" against torch's own CPU, and copies against memcpy.

Left out, with a line that says so, where torch or spike-torch is not installed.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from benchmarks.fresh import processes
from benchmarks.timing import Row, Timings, interleaved, micros, print_table

if TYPE_CHECKING:
    import torch

# torch's import with the device left out, and then what finds and registers it.
_IMPORT = """
import os, time
os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
start = time.perf_counter()
import torch
imported = time.perf_counter()
torch._import_device_backends()
torch.nkipy
print(imported - start, time.perf_counter() - imported)
"""
#: Structured operators write into outputs that torch has allocated before: 3 us.
_STRUCTURED, _OTHERS = "<= +3 us", "<= +4 us"


def main() -> None:
    if not all(find_spec(name) for name in ("torch", "spike_torch")):
        sys.stdout.write("The torch device: left out, as torch is not installed\n\n")
        return
    print_table(
        "The torch device (peer: the CPU's own)",
        [*import_rows(), *tensor_rows(), *fallback_rows(), training_row()],
    )
    print_table("Copies of the torch device (peers: memcpy; CPU to CPU)", copy_rows())


def import_rows() -> list[Row]:
    """What registering the device adds to `import torch`."""
    with processes() as fresh:
        readings = [fresh.run(_IMPORT).split() for _ in range(8)]
    alone, registering = (min(map(float, column)) for column in zip(*readings))
    return [_beyond("import torch", alone + registering, alone, "<= +50 ms")]


def tensor_rows() -> list[Row]:
    """Small tensors: made, and moved there and back."""
    import torch

    host = torch.ones(4, 4)
    there = host.to("nkipy")
    made = interleaved(
        {
            "empty(16, device=...)": lambda: torch.empty(16, device="nkipy"),
            "of the CPU": lambda: torch.empty(16, device="cpu"),
            "empty_like(x)": lambda: torch.empty_like(there),
            "like one of the CPU": lambda: torch.empty_like(host),
        },
        calls=200,
    )
    moved = interleaved(
        {
            "x.to('nkipy'), 64 bytes": lambda: host.to("nkipy"),
            "x.cpu(), 64 bytes": lambda: there.cpu(),
            "copy=True": lambda: host.to("cpu", copy=True),
        },
        calls=200,
    )
    return [
        _times("empty(16, device=...)", "of the CPU", made, "<= 1.5"),
        _times("empty_like(x)", "like one of the CPU", made, "<= 1.5"),
        _times("x.to('nkipy'), 64 bytes", "copy=True", moved, "<= 1.5"),
        _times("x.cpu(), 64 bytes", "copy=True", moved, "<= 1.5"),
    ]


def fallback_rows() -> list[Row]:
    """Operations that the CPU computes: what they take beyond the CPU's own."""
    import torch

    import spike_torch

    spike_torch.set_execution("fallback")

    host = torch.rand(8, 8) + 0.1
    there = host.to("nkipy")
    structured: dict[str, Callable[[torch.Tensor], Any]] = {
        "x + x": lambda x: x + x,
        "x @ x": lambda x: x @ x,
        "softmax": lambda x: torch.softmax(x, -1),
        "sum": lambda x: x.sum(),
        "gelu": torch.nn.functional.gelu,
        "x.mul_(1)": lambda x: x.mul_(1),
    }
    others: dict[str, Callable[[torch.Tensor], Any]] = {
        "relu": torch.relu,
        "layer_norm": lambda x: torch.nn.functional.layer_norm(x, (8,)),
        "abs": torch.abs,
        "nonzero": torch.nonzero,
        "x.fill_(1)": lambda x: x.fill_(1),
    }
    rows = []
    for functions, aim in ((structured, _STRUCTURED), (others, _OTHERS)):
        for name, function in functions.items():
            took = interleaved(
                {
                    "ours": lambda f=function: f(there),  # type: ignore[misc]
                    "CPU": lambda f=function: f(host),  # type: ignore[misc]
                },
                seconds=1.0,
                calls=100,
            )
            rows.append(_beyond(name, took.least("ours"), took.least("CPU"), aim))
    spike_torch.set_execution("auto")
    return rows


def training_row() -> Row:
    """Ten steps of a small network, from batches of the CPU's."""
    import torch

    def steps(device: str) -> Callable[[], None]:
        torch.manual_seed(0)
        model = torch.nn.Sequential(
            torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
        ).to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        batch, labels = torch.rand(64, 64), torch.randint(10, (64,))

        def train() -> None:
            for _ in range(10):
                optimizer.zero_grad()
                found = model(batch.to(device))
                torch.nn.functional.cross_entropy(found, labels.to(device)).backward()
                optimizer.step()

        return train

    took = interleaved({"ten steps, 64-128-10": steps("nkipy"), "CPU": steps("cpu")})
    return _times("ten steps, 64-128-10", "CPU", took, "")


def copy_rows() -> list[Row]:
    """Copies into memory that is there."""
    rows = []
    for megabytes in (4, 64):
        rows += _plain_copies(megabytes) + _other_copies(megabytes)
    return rows


def _plain_copies(megabytes: int) -> list[Row]:
    import torch

    size = megabytes << 20
    host, second = (torch.ones(size, dtype=torch.uint8) for _ in range(2))
    there, other = host.to("nkipy"), second.to("nkipy")
    to, source = second.data_ptr(), host.data_ptr()
    took = interleaved(
        {
            "to the device": lambda: there.copy_(host),
            "memcpy": lambda: ctypes.memmove(to, source, size),
            "to the CPU": lambda: second.copy_(there),
            "on the device": lambda: other.copy_(there),
        },
        seconds=3.0,
    )
    names = ("to the device", "to the CPU", "on the device")
    return [_rate(name, "memcpy", took, megabytes, ">= 0.9") for name in names]


def _other_copies(megabytes: int) -> list[Row]:
    """Those that are no copies of memory as it is: the peer is the CPU's copy_."""
    import torch

    side = int((megabytes << 18) ** 0.5)
    host, target = torch.rand(side, side), torch.rand(side, side)
    there, on_device = host.to("nkipy"), target.to("nkipy")
    half, half_there = host.half(), host.half().to("nkipy")
    cases: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "transposed to the device": (
            lambda: on_device.copy_(host.t()),
            lambda: target.copy_(host.t()),
        ),
        "transposed to the CPU": (
            lambda: target.copy_(there.t()),
            lambda: target.copy_(host.t()),
        ),
        "float16 to float32, to the device": (
            lambda: on_device.copy_(half),
            lambda: target.copy_(half),
        ),
        "float16 to float32, to the CPU": (
            lambda: target.copy_(half_there),
            lambda: target.copy_(half),
        ),
    }
    return [
        _rate(name, "CPU", interleaved({name: ours, "CPU": peer}), megabytes, ">= 0.95")
        for name, (ours, peer) in cases.items()
    ]


def _times(name: str, peer: str, took: Timings, aim: str) -> Row:
    ratio = f"{took.ratio(name, peer):.2f}"
    return Row(name, micros(took.least(name)), micros(took.least(peer)), ratio, aim)


def _beyond(name: str, ours: float, peer: float, aim: str) -> Row:
    unit, scale = ("ms", 1e3) if ours > 1e-2 else ("us", 1e6)
    above = f"{(ours - peer) * scale:+.2f} {unit}"
    return Row(name, micros(ours), micros(peer), above, aim)


def _rate(name: str, peer: str, took: Timings, megabytes: int, aim: str) -> Row:
    def rate(which: str) -> str:
        return f"{(megabytes << 20) / took.least(which) / 1e9:.1f} GB/s"

    cells = rate(name), f"{peer} {rate(peer)}", f"{took.ratio(peer, name):.2f}"
    return Row(f"{name}, {megabytes} MB", *cells, aim)


if __name__ == "__main__":
    main()
