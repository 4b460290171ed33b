"""Importing nkipy in a fresh process."""

from __future__ import annotations

from benchmarks.fresh import processes
from benchmarks.timing import Row, interleaved, micros, print_table

#: Whether the import has loaded one of those that take seconds.
_CHECK = "; import sys; sys.exit(bool({'jaxlib', 'torch', 'jax'} & set(sys.modules)))"
_EMPTY, _NUMPY = "pass", "import numpy"
#: What is imported after NumPy, and what is aimed at.
_OURS = {
    "import nkipy": "",
    "from nkipy.runtime import simulate_jit": "< 0.9",
    "from nkipy.runtime import simulate_jit, baremetal_jit": "",
    "import nkipy.core.ops": "",
}


def main() -> None:
    with processes() as fresh:
        programs = {code: f"{_NUMPY}; {code}" for code in _OURS}
        programs |= {_EMPTY: _EMPTY, _NUMPY: _NUMPY}
        for code in programs.values():
            fresh.run(code + _CHECK)
        took = interleaved(
            {
                name: lambda code=code: fresh.run(code)  # type: ignore[misc]
                for name, code in programs.items()
            },
            seconds=8.0,
        )
    numpy = took.least(_NUMPY)
    peer = numpy - took.least(_EMPTY)
    rows = []
    for code, aim in _OURS.items():
        own = took.least(code) - numpy
        rows.append(Row(code, micros(own), micros(peer), f"{own / peer:.2f}", aim))
    print_table("Import in a fresh process, above NumPy's own (the peer)", rows)


if __name__ == "__main__":
    main()
