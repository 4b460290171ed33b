"""Writes what is made from the list of libnrt's statuses, ``neff.status``.

    uv run tools/generate_statuses.py            # write the files anew
    uv run tools/generate_statuses.py --check    # exit code 1 if one is not current

Two headers of the emulated libnrt are made, both in git, since it is built without
spike: the public one, and the names. spike's own header is made by its build. Only the
standard library is needed.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from generated_files import main  # noqa: E402

SOURCE = "spike/src/neff/status.py"

_NOTE = f"Made from {SOURCE} by tools/generate_statuses.py; not to be edited."
_LIST = runpy.run_path(str(ROOT / SOURCE))


def public_header() -> str:
    """The header that clients of the library in C include."""
    rows = "".join(map(_enumerator, _LIST["NrtStatus"]))
    return f"""\
// Status codes of libnrt's interface. Our own declarations of the documented values.
// {_NOTE}
#pragma once

#ifdef __cplusplus
extern "C" {{
#endif

// clang-format off
/// What every function that can fail returns. Values 8 and 12 are not used.
typedef enum {{
{rows}}} NRT_STATUS;
// clang-format on

/// The status's name, or "NRT_STATUS_UNKNOWN". Works at any time; never NULL.
const char* nrt_get_status_as_str(NRT_STATUS status);

#ifdef __cplusplus
}}
#endif
"""


def _enumerator(status: Any) -> str:
    meaning = _LIST["MEANINGS"].get(status)
    comment = f"  // {meaning}" if meaning else ""
    return f"  {status.nrt_name} = {status.value},{comment}\n"


def names_header() -> str:
    """The names, as ``X(name)`` for each."""
    rows = " \\\n".join(f"  X({status.nrt_name})" for status in _LIST["NrtStatus"])
    return f"""\
// The statuses, each as X(name).
// {_NOTE}
#pragma once

// clang-format off
#define EMULATOR_STATUSES(X) \\
{rows}
// clang-format on
"""


GENERATED = {
    "emulator/src/libnrt/include/nrt/nrt_status.h": public_header,
    "emulator/src/libnrt/status_names.h": names_header,
}


if __name__ == "__main__":
    sys.exit(main(__doc__, GENERATED))
