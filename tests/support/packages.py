"""Packages that a test writes: installed in a directory, with what they offer."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def fenced(page: Path) -> dict[str, str]:
    """Code blocks of a page by the file that their first line names in a comment."""
    blocks = re.findall(r"```\w+\n# (\S+\.\w+)\n(.*?)```", page.read_text(), re.DOTALL)
    return dict(blocks)


def install(
    site: Path,
    name: str,
    modules: Mapping[str, str],
    offers: Mapping[str, Mapping[str, str]],
) -> None:
    """Put a distribution into `site` as an installer does.

    Args:
        site: a directory of ``sys.path`` or ``PYTHONPATH``.
        name: the distribution's.
        modules: text of each file, by path below `site`.
        offers: objects by name, by entry point group.
    """
    for path, text in modules.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    )
    lines = []
    for group, members in offers.items():
        lines += [f"[{group}]", *(f"{k} = {v}" for k, v in members.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def install_from_guide(page: Path, site: Path) -> dict[str, str]:
    """Install the package whose files stand on a page; their texts by path."""
    files = fenced(page)
    project = toml(files.pop("pyproject.toml"))["project"]
    install(site, project["name"], files, project["entry-points"])
    return files


def toml(text: str) -> dict[str, Any]:
    """The tables of a TOML file."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    return tomllib.loads(text)
