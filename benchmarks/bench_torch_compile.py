"""torch.compile(backend="nkipy") against "inductor" and eager torch, on the CPU.

Left out, with a line that says so, where torch, spiky or transformers is not installed.

``python -m benchmarks.bench_torch_compile 2x64`` measures that alone; ``--help`` tells
what else there is.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.fresh import processes
from benchmarks.timing import Row, Timings, interleaved, micros, print_table

if TYPE_CHECKING:
    import torch

NEEDED = ("torch", "spike_torch", "spiky", "transformers")
#: Of the transformer: (layers, wide), and the aims against inductor and eager.
SIZES = {
    (2, 64): {"forward": ("<= 1", "<= 1"), "training": ("<= 1", "<= 1")},
    (4, 256): {"forward": ("<= 1.5", ""), "training": ("<= 2", "")},
}

#: Calls that one reading covers. After its call, torch's threads look for work for some
#: milliseconds, which is in the next one's way.
CALLS = {(2, 64): 20, (4, 256): 5}


def _name(layers: int, wide: int) -> str:
    return f"{layers}x{wide}"


#: What there is to measure.
PARTS = ("call", *(_name(*size) for size in SIZES), "buckets", "first")
#: Of ten batches, in the buckets 8, 16 and 32.
BATCHES = (5, 6, 7, 8, 9, 12, 16, 17, 25, 32)

# The first call of a model in this process, and what parts of it took.
_FIRST = """
import json, logging, os, sys, time, warnings
warnings.simplefilter("ignore")
import torch
from spiky.torch import init_nkipy_backend
import spiky.compiling.part as part
from benchmarks.bench_torch_compile import transformer, perceptron
logging.disable(logging.WARNING)
init_nkipy_backend(nkipy_cache={cache!r})
took = dict.fromkeys(("lower_graph", "build", "load"), 0.0)
def timed(name):
    function = getattr(part, name)
    def run(*args, **kwargs):
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            took[name] += time.perf_counter() - start
    setattr(part, name, run)
for name in took:
    timed(name)
model, inputs = {make}
model, inputs = model.to("nkipy").eval(), [x.to("nkipy") for x in inputs]
compiled = torch.compile(model, backend="nkipy")
with torch.no_grad():
    start = time.perf_counter()
    compiled(*inputs)
    first = time.perf_counter() - start
print(json.dumps(took | {{"first": first}}))
"""


def main(wanted: Sequence[str] = PARTS) -> None:
    """Print the tables of what is wanted."""
    if not all(find_spec(name) for name in NEEDED):
        sys.stdout.write("torch.compile: left out, as torch is not all installed\n\n")
        return
    logging.disable(logging.WARNING)  # those of transformers, of its configurations
    warnings.filterwarnings("ignore", module="torch|transformers")
    with tempfile.TemporaryDirectory() as cache:
        initialize(cache)
        if "call" in wanted:
            print_table("Calls of what is compiled (peers as named)", [call_row(cache)])
        sizes = [size for size in SIZES if _name(*size) in wanted]
        if sizes:
            print_table(
                "GPT-2, batch 4, 64 tokens (peers: inductor and eager, on the CPU)",
                [row for size in sizes for row in transformer_rows(*size)],
            )
        if "buckets" in wanted:
            rows = [buckets_row(), *padding_rows()]
            print_table("Buckets (peers as named)", rows)
    if "first" in wanted:
        title = "First calls, in a fresh process (peer: from the cache)"
        print_table(title, first_rows())


def initialize(cache: str) -> None:
    from spiky.torch import init_nkipy_backend

    init_nkipy_backend(nkipy_cache=cache, log_level=logging.ERROR)


# ---- Models ----------------------------------------------------------------------


def perceptron(layers: int = 7, wide: int = 8) -> tuple[torch.nn.Module, list[Any]]:
    """One that has 2 * layers + 1 inputs, of which one is no parameter; and that."""
    import torch

    torch.manual_seed(0)
    parts: list[torch.nn.Module] = []
    for _ in range(layers):
        parts += [torch.nn.Linear(wide, wide), torch.nn.ReLU()]
    return torch.nn.Sequential(*parts).eval(), [torch.rand(4, wide)]


def transformer(layers: int, wide: int) -> tuple[torch.nn.Module, list[Any]]:
    """GPT-2 with random weights, and four texts of 64 tokens."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=layers,
        n_embd=wide,
        n_head=4,
        vocab_size=1000,
        n_positions=64,
        bos_token_id=0,
        eos_token_id=0,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
    )
    return GPT2LMHeadModel(config), [torch.randint(1000, (4, 64))]


# ---- Calls -----------------------------------------------------------------------


def call_row(cache: str) -> Row:
    """A call of 16 tensors, against torch's part of it, and the program's."""
    import torch

    class Added(torch.nn.Module):
        def __init__(self, model: torch.nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.model(x) + y

    model, (x,) = perceptron()
    model, x, y = Added(model).to("nkipy"), x.to("nkipy"), torch.rand(4, 8).to("nkipy")
    compiled = torch.compile(model, backend="nkipy")
    ready = torch.compile(copy.deepcopy(model), backend=_ready_tensor(compiled, x, y))
    (neff,) = Path(cache).rglob("*.neff")
    with torch.no_grad():
        took = interleaved(
            {
                "ours": lambda: compiled(x, y),
                "ready": lambda: ready(x, y),
                "spike": _spike_call(neff),
            },
            seconds=6.0,
            calls=50,
        )
    peer = took.least("ready") + took.least("spike")
    beyond = f"{(took.least('ours') - peer) * 1e6:+.2f} us"
    told = f"{micros(took.least('ready'))} + {micros(took.least('spike'))}"
    return Row(
        "MLP, 16 inputs (torch + spike)",
        micros(took.least("ours")),
        told,
        beyond,
        "<= +5 us",
    )


def _ready_tensor(compiled: Callable[..., Any], *inputs: Any) -> Callable[..., Any]:
    """A backend whose calls return a tensor that was there before."""
    import torch
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

    with torch.no_grad():
        made = (compiled(*inputs),)
    boxed = make_boxed_func(lambda *arguments: made)
    return aot_autograd(fw_compiler=lambda gm, given: boxed)


def _spike_call(neff: Path) -> Callable[[], Any]:
    """What executes a program, on tensors that are there before."""
    from spike import SpikeModel, SpikeTensor

    model = SpikeModel.load_from_neff(neff)
    inputs, outputs = (
        {name: SpikeTensor.zeros(i.shape, i.dtype) for name, i in infos.items()}
        for infos in (model.input_tensors_info, model.output_tensors_info)
    )
    return lambda: model(inputs=inputs, outputs=outputs)


def transformer_rows(layers: int, wide: int) -> list[Row]:
    """Forward, and forward with the loss and backward."""
    import torch

    host, (tokens,) = transformer(layers, wide)
    there = copy.deepcopy(host).to("nkipy")
    models = {
        "ours": (torch.compile(there, backend="nkipy"), tokens.to("nkipy")),
        "inductor": (torch.compile(host), tokens),
        "eager": (host, tokens),
    }

    def forward(model: Any, given: Any) -> None:
        with torch.no_grad():
            model(input_ids=given)

    def train(model: Any, given: Any) -> None:
        model.zero_grad(set_to_none=True)
        model(input_ids=given, labels=given).loss.backward()

    rows = []
    for what, step in (("forward", forward), ("training", train)):
        took = interleaved(
            {
                name: lambda m=model, g=given, s=step: s(m, g)  # type: ignore[misc]
                for name, (model, given) in models.items()
            },
            seconds=5.0,
            calls=CALLS[layers, wide],
        )
        for peer, aim in zip(("inductor", "eager"), SIZES[layers, wide][what]):
            name = f"{layers} x {wide}, {what} ({peer})"
            rows.append(_times(name, "ours", peer, took, aim))
    return rows


# ---- Buckets ---------------------------------------------------------------------


def buckets_row() -> Row:
    """Batches of ten sizes."""
    import torch

    import spiky

    model, _ = perceptron()
    compiled = torch.compile(model.to("nkipy"), backend="nkipy", dynamic=True)
    spiky.reset_stats()
    with torch.no_grad():
        for batch in BATCHES:
            compiled(torch.rand(batch, 8).to("nkipy"))
    count = str(spiky.get_stats().total_compile_count)
    return Row("ten sizes: programs", count, "10", "", "3")


def padding_rows() -> list[Row]:
    """A step of a transformer of two layers whose batch fills its bucket, or not."""
    import torch

    model, _ = transformer(2, 64)
    model = model.to("nkipy")
    dynamic = torch.compile(model, backend="nkipy", dynamic=True)
    static = torch.compile(copy.deepcopy(model), backend="nkipy", dynamic=False)
    full = torch.randint(1000, (8, 64)).to("nkipy")
    part = full[:7].contiguous()

    def train(model: Any, given: Any) -> None:
        model.zero_grad(set_to_none=True)
        model(input_ids=given, labels=given).loss.backward()

    took = interleaved(
        {
            "7 of 8": lambda: train(dynamic, part),
            "8 of 8": lambda: train(dynamic, full),
            "static": lambda: train(static, full),
        },
        seconds=6.0,
        calls=3,
    )
    return [
        _times("training, batch 7 of 8 (filled)", "7 of 8", "8 of 8", took, "<= 1.1"),
        _times("training, batch 7 of 8 (static 8)", "7 of 8", "static", took, "<= 1.1"),
    ]


# ---- First calls -----------------------------------------------------------------


def first_rows() -> list[Row]:
    """Compiled, and found in the cache."""
    rows = []
    models = {"MLP": "perceptron()", "GPT-2, 2 x 64": "transformer(2, 64)"}
    with processes() as fresh:
        fresh.run("import torch, transformers, spiky")
        for name, make in models.items():
            with tempfile.TemporaryDirectory() as cache:
                # An emulated machine of its own: this process has taken the other's.
                fresh.environment["NKIPY_EMULATOR_LOCK_DIR"] = cache
                code = _FIRST.format(cache=cache, make=make)
                compiled, found, again = (json.loads(fresh.run(code)) for _ in range(3))
            found = min(found, again, key=lambda times: times["first"])
            for part in ("first", "torch", "lower_graph", "build", "load"):
                rows.append(_part(name, part, compiled, found))
    return rows


def _part(name: str, part: str, one: dict[str, float], other: dict[str, float]) -> Row:
    ours, peer = (
        times[part] if part in times else 2 * times["first"] - sum(times.values())
        for times in (one, other)
    )
    return Row(f"{name}: {part}", micros(ours), micros(peer), f"{ours / peer:.2f}", "")


def _times(what: str, name: str, peer: str, took: Timings, aim: str) -> Row:
    """By the least of each: torch's threads wait for each other, and so are slowed by
    other work many times more than ours."""
    ours, others = took.least(name), took.least(peer)
    return Row(what, micros(ours), micros(others), f"{ours / others:.2f}", aim)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_torch_compile")
    parser.add_argument("wanted", nargs="*", help=f"of {', '.join(PARTS)}; else all")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.wanted if name not in PARTS]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}, only {', '.join(PARTS)}")
    main(arguments.wanted or PARTS)
