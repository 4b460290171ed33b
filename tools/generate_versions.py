"""Writes the workspace's version into its members.

    uv run tools/generate_versions.py            # write the files anew
    uv run tools/generate_versions.py --check    # exit code 1 if one is not current

The root's ``pyproject.toml`` has the one version. A member is built and installed
without the root, so it states that version itself, and requires other members by that
very one: two of different versions were never tried together, and some of their names
are other people's on the public index.
"""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from generated_files import main
from workspace import ROOT, members, version_of

_STATED = re.compile(r'^((?:__version__|version) = )"[^"]*"$', re.M)


def stated(text: str, version: str) -> str:
    """A module, or a ``pyproject.toml``, that says that it is `version`."""
    return _STATED.sub(rf'\1"{version}"', text)


def required(text: str, version: str, names: list[str]) -> str:
    """A ``pyproject.toml`` that requires the distributions `names` by `version`."""
    name = f"({'|'.join(map(re.escape, names))})"
    item = rf'(?<!name = )"{name}(?: *[=<>~!][^";]*)?( *;[^"]*)?"'

    def exactly(found: re.Match[str]) -> str:
        return f'"{found[1].lower()}=={version}{found[2] or ""}"'

    return re.sub(item, exactly, text, flags=re.IGNORECASE)


def texts(root: Path = ROOT) -> dict[str, str]:
    """The text of each file that states the version, by its path from `root`."""
    version, names = version_of(root), [member.name for member in members(root)]
    made = {}
    for member in members(root):
        settings = f"{member.folder}/pyproject.toml"
        made[settings] = required((root / settings).read_text(), version, names)
        for file in (
            *member.src.glob("*/__init__.py"),
            *member.src.glob("*/_release.py"),
        ):
            made[str(file.relative_to(root))] = file.read_text()
    return {path: stated(text, version) for path, text in made.items()}


if __name__ == "__main__":
    files = {path: partial(str, text) for path, text in texts().items()}
    sys.exit(main(str(__doc__), files))
