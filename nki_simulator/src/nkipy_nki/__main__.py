"""Runs a script, and tells what is found in all kernels that it runs.

    python -m nkipy_nki check [--json] [--strict] SCRIPT [ARG ...]
    python -m nkipy_nki check [--json] [--strict] -m MODULE [ARG ...]

A run goes on after an error where it can, so that others are found too. With --json
the report is JSON on standard output, and what the script prints goes to standard
error; with --strict, warnings count as errors. Levels are those of NKIPY_NKI_FINDINGS.

The exit status is 0 if no error is found; 1 if one is; 2 if the command is not
understood; 3 if the script fails by itself, or runs no kernel.
"""

from __future__ import annotations

import os
import sys

from nkipy_nki.scripts import MISUSE, check, standard_output_apart

_OPTIONS = {"--json", "--strict"}
_HELP = ("-h", "--help")


def main(arguments: list[str]) -> int:
    """The exit status, after doing what the arguments say."""
    if arguments[:1] == ["check"] and arguments[1:2] in ([h] for h in _HELP):
        arguments = arguments[1:]
    if arguments and arguments[0] in _HELP:
        sys.stdout.write(str(__doc__))
        return 0
    if not arguments or arguments[0] != "check":
        return _misuse(f"cannot make sense of: {' '.join(arguments) or 'nothing'}")
    given, rest = set(), arguments[1:]
    while rest and rest[0] in _OPTIONS:
        given.add(rest.pop(0))
    is_module = rest[:1] == ["-m"]
    rest = rest[is_module:]
    if not rest or (rest[0].startswith("-") and not is_module):
        return _misuse(f"check what? {' '.join(rest)}".rstrip())
    if not is_module and not os.path.exists(rest[0]):
        return _misuse(f"there is no file {rest[0]}")
    strict = "--strict" in given
    if "--json" not in given:
        found = check(rest, is_module=is_module, strict=strict)
        sys.stdout.write(f"{found}\n")
        return found.status
    with standard_output_apart() as output:
        found = check(rest, is_module=is_module, strict=strict)
        output.write(f"{found.as_json()}\n")
    return found.status


def _misuse(problem: str) -> int:
    sys.stderr.write(f"nkipy_nki: error: {problem}\n\n{__doc__}")
    return MISUSE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
