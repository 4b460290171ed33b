"""Importing nkipy in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from benchmarks.timing import Row, interleaved, micros, print_table

#: Whether the import has loaded one of those that take seconds.
_CHECK = "; import sys; sys.exit(bool({'jaxlib', 'torch', 'jax'} & set(sys.modules)))"
_EMPTY, _THIRD_PARTY = "pass", "import numpy, ml_dtypes, google.protobuf.message"
#: What is imported, and what is aimed at.
_OURS = {
    "import nkipy": "< 250 ms",
    "import nkipy.core.ops": "",
    "from nkipy.runtime import simulate_jit, baremetal_jit": "",
}


def _run(code: str, environment: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        # With compiled sources, as an installation has them.
        environment = os.environ | {"PYTHONPYCACHEPREFIX": directory}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for code in _OURS:
            _run(code + _CHECK, environment)
        took = interleaved(
            {
                code: lambda code=code: _run(code, environment)  # type: ignore[misc]
                for code in (_EMPTY, _THIRD_PARTY, *_OURS)
            },
            seconds=6.0,
        )
    empty = took.least(_EMPTY)
    peer = took.least(_THIRD_PARTY) - empty
    rows = []
    for code, aim in _OURS.items():
        own = took.least(code) - empty
        rows.append(Row(code, micros(own), micros(peer), f"{own / peer:.2f}", aim))
    title = f"Import in a fresh process, above an empty one (peer: {_THIRD_PARTY})"
    print_table(title, rows)


if __name__ == "__main__":
    main()
