"""Says what ``import nki`` reaches, or runs a program that imports it.

    python -m nkipy_nki_names                      whose the names are, and why
    python -m nkipy_nki_names run SCRIPT [ARG ...]
    python -m nkipy_nki_names run -m MODULE [ARG ...]

The second form is for where Python has not read our .pth file: `python -S`, archives.
The exit status of the first is 0 if `import nki` works, and 1 if not; that of a misuse
is 2.
"""

from __future__ import annotations

import os
import runpy
import sys
import zipfile

from nkipy_nki_names import FINDER, install
from nkipy_nki_names.report import answer


def main(arguments: list[str]) -> int:
    """The exit status, after doing what the arguments say."""
    if not arguments:
        found = answer(at_start=FINDER in sys.meta_path)
        return _tell("\n".join(found.lines)) or (0 if found.works else 1)
    if arguments[0] in ("-h", "--help"):
        return _tell(str(__doc__).strip())
    if arguments[0] != "run" or arguments[1:] in ([], ["-m"]):
        return _misuse(f"cannot make sense of: {' '.join(arguments)}")
    install()
    if arguments[1] == "-m":
        return _run_module(arguments[2:])
    return _run_script(arguments[1:])


def _run_module(arguments: list[str]) -> int:
    sys.argv[:] = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    return 0


def _run_script(arguments: list[str]) -> int:
    """Run it as Python does, with its folder, or the archive, first on ``sys.path``."""
    script = arguments[0]
    if not os.path.exists(script):
        return _misuse(f"there is no file {script}")
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        del sys.path[0]  # where this was started
        if not (os.path.isdir(script) or zipfile.is_zipfile(script)):
            sys.path.insert(0, os.path.dirname(os.path.realpath(script)))
    sys.argv[:] = arguments
    runpy.run_path(script, run_name="__main__")
    return 0


def _tell(text: str) -> int:
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python tries again at its end
        sys.stderr.write(f"nkipy_nki_names: error: {error.strerror}\n")
        return 1
    return 0


def _misuse(problem: str) -> int:
    sys.stderr.write(f"nkipy_nki_names: error: {problem}\n\n{__doc__}")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
