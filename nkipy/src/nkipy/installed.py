"""Whether what is installed under our packages' names is ours, and of one version.

``nkipy`` and ``spike`` are other people's names on the public index, so that an
installer that is asked for them brings something else. Ours carry a marker, and belong
together in one version.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from types import ModuleType

from nkipy._release import __version__

_MARKER = "__nkipy_internal__"


def how_to_install(distribution: str) -> str:
    """What to do to have a package of ours, in words that follow a colon."""
    return (
        f"install the wheel of {distribution} {__version__} from where nkipy's "
        "came from, or the whole workspace from a clone of the repository (uv sync); "
        "docs/install.md there says more"
    )


@lru_cache  # of those that are right
def check_package(name: str) -> None:
    """Raise ImportError unless the package `name`, such as spike, is ours and fits."""
    if problem := problem_of(name):
        raise ImportError(problem, name=name)


def problem_of(name: str) -> str:
    """What is wrong with the package `name` (its distribution has that name, too), and
    what to do about it; "" if nothing is."""
    try:
        package = import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return f"{name} is not installed: {how_to_install(name)}"
    if not getattr(package, _MARKER, False):
        return (
            f"{name} {_version(name)} in {_place(package)} is another project's "
            "package of the same name, as the public index has one. Uninstall it (pip "
            f"uninstall {name}), and {how_to_install(name)}"
        )
    version = import_module(f"{name}._release").__version__
    if version != __version__:
        return (
            f"{name} {version} is installed, and nkipy {__version__} works with "
            f"{name} {__version__} alone: {how_to_install(name)}"
        )
    return ""


def _version(distribution: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # takes long

    try:
        return version(distribution)
    except PackageNotFoundError:  # used without having been installed
        return "(of no known version)"


def _place(package: ModuleType) -> str:
    file = getattr(package, "__file__", None)
    return file or ", ".join(getattr(package, "__path__", ["an unknown place"]))
