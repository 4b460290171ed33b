"""The cost model's own time, which each load of a program on the device takes once."""

from __future__ import annotations

import numpy as np

from benchmarks.timing import Row, interleaved, micros, print_table
from nkipy.core.trace import trace_function
from nkipy_emulator.cost_model import estimate

LENGTH = 1000


def chain(x: np.ndarray) -> np.ndarray:
    """Three instructions at a time."""
    for _ in range(LENGTH):
        x = np.tanh(x) * x + 1
    return x


def main() -> None:
    module = trace_function(chain, (np.zeros((128, 512), np.float32),), {}).module
    count = len(module.entry.instructions)
    took = interleaved({"estimate": lambda: estimate(module), "verify": module.verify})
    row = Row(
        f"estimate of {count} instructions",
        micros(took.least("estimate") / count),
        micros(took.least("verify") / count),
        f"{took.ratio('estimate', 'verify'):.1f}",
        "< 10 us",
    )
    print_table("Cost model, for each instruction (the peer: verifying it)", [row])


if __name__ == "__main__":
    main()
