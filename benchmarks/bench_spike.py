"""spike against libnrt called from C, and transfers against a plain copy of memory."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np

from benchmarks.timing import Row, Timings, interleaved, micros, print_table
from nkipy.runtime import DeviceKernel
from spike import SpikeModel, SpikeTensor
from spike.library import locate

INPUTS, OUTPUTS = 13, 3
SHAPE = (4, 4)
MEGABYTES = 256
# Short readings, so that some of them escape the load of the machine.
ROUNDS, CALLS = 1500, 20


def kernel(*inputs: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(inputs[i] + inputs[i + OUTPUTS] for i in range(OUTPUTS))


def load_model() -> SpikeModel:
    array = np.ones(SHAPE, np.float32)
    compiled = DeviceKernel.compile_and_load(kernel, *[array] * INPUTS)
    return SpikeModel.load_from_neff(compiled.neff_path)


def prepare_in_c(model: SpikeModel) -> ctypes.CDLL:
    """The same NEFF and tensors of the same sizes, in the hands of a C program."""
    source = Path(__file__).with_suffix(".c")
    with tempfile.TemporaryDirectory() as directory:
        library = f"{directory}/bench_spike.so"
        compiler = shutil.which("cc") or "gcc"
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", library, str(source)]
        subprocess.run(command, check=True)
        client = ctypes.CDLL(library)
    client.run.restype = ctypes.c_double
    neff = model.neff_path.read_bytes()
    names = [
        (ctypes.c_char_p * (len(infos) + 1))(*map(str.encode, infos), None)
        for infos in (model.input_tensors_info, model.output_tensors_info)
    ]
    size = ctypes.c_size_t(prod(SHAPE) * 4)
    neff_size = ctypes.c_size_t(len(neff))
    if client.prepare(locate().path.encode(), neff, neff_size, size, *names) != 0:
        raise RuntimeError("the C program could not load the NEFF")
    return client


def call_rows() -> list[Row]:
    """`SpikeModel.__call__` with 16 tensors against the same execution from C; then
    with outputs that it allocates, and asynchronously."""
    model = load_model()
    inputs, outputs = (
        {name: SpikeTensor.zeros(SHAPE, np.float32) for name in infos}
        for infos in (model.input_tensors_info, model.output_tensors_info)
    )
    client = prepare_in_c(model)
    c, *ours = _least(
        lambda: client.run(CALLS),
        lambda: _seconds(lambda: model(inputs=inputs, outputs=outputs)),
        lambda: _seconds(lambda: model(inputs=inputs)),
        lambda: _seconds(lambda: model.execute_async(inputs, outputs).wait()),
    )
    given = ours[0]
    allocated = f"<= +{5 + 3 * OUTPUTS} us"
    return [
        _beyond("call, 16 tensors", given, "C", c, "<= +3 us"),
        _beyond(f"{OUTPUTS} outputs allocated", ours[1], "given", given, allocated),
        _beyond("execute_async().wait()", ours[2], "call", given, "<= +12 us"),
    ]


def _seconds(call: Callable[[], object]) -> float:
    """What each of some calls took."""
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - start) / CALLS


def _least(*readings: Callable[[], float]) -> list[float]:
    """The least of many readings of each, in turn."""
    rows = [[reading() for reading in readings] for _ in range(ROUNDS)]
    return [min(column) for column in zip(*rows)]


def _beyond(what: str, ours: float, peer: str, theirs: float, limit: str) -> Row:
    above = f"{(ours - theirs) * 1e6:+.2f} us"
    return Row(what, micros(ours), f"{peer} {micros(theirs)}", above, limit)


def _fresh_copy(source: np.ndarray) -> np.ndarray:
    target = np.empty_like(source)
    np.copyto(target, source)
    return target


def transfer_rows() -> list[Row]:
    """Transfers against np.copyto: into memory that is there, and into a new array,
    which costs both the kernel's zeroing of its pages."""
    source = np.ones(MEGABYTES << 20, np.uint8)
    target = np.ones_like(source)
    tensor = SpikeTensor.from_numpy(source)
    there, new = (
        interleaved(functions, 6.0)
        for functions in (
            {
                "write_from_numpy(x)": lambda: tensor.write_from_numpy(source),
                "copyto": lambda: np.copyto(target, source),
                "numpy(out)": lambda: tensor.numpy(target),
            },
            {"numpy()": tensor.numpy, "copyto": lambda: _fresh_copy(source)},
        )
    )
    return [
        _transfer_row("write_from_numpy(x)", there),
        _transfer_row("numpy(out)", there),
        _transfer_row("numpy()", new, "copyto new"),
    ]


def _transfer_row(what: str, took: Timings, peer: str = "copyto") -> Row:
    def rate(name: str) -> str:
        return f"{(MEGABYTES << 20) / took.least(name) / 1e9:.1f} GB/s"

    ratio = f"{took.ratio('copyto', what):.2f}"
    cells = rate(what), f"{peer} {rate('copyto')}", ratio
    return Row(f"{what}, {MEGABYTES} MB", *cells, ">= 0.8")


def main() -> None:
    print_table(
        "spike (peers: libnrt called from C, np.copyto)", call_rows() + transfer_rows()
    )


if __name__ == "__main__":
    main()
