"""Importing nkipy in a fresh process."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.timing import Row, best, micros, print_table

_CHECK = (
    "import sys, nkipy; import nkipy.core.trace; "
    "sys.exit(bool({'jaxlib', 'torch', 'jax'} & set(sys.modules)))"
)


def _run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def main() -> None:
    _run(_CHECK)
    bare = best(lambda: _run("pass"), 1.0)
    rows = []
    for what, aim in (
        ("import numpy, ml_dtypes", ""),
        ("import nkipy", "< 250 ms"),
        ("import nkipy.core.trace", ""),
    ):
        took = best(lambda what=what: _run(what), 2.0) - bare  # type: ignore[misc]
        rows.append(Row(what, micros(took), micros(bare), "", aim))
    print_table("Import in a fresh process, above an empty one (peer: empty one)", rows)


if __name__ == "__main__":
    main()
