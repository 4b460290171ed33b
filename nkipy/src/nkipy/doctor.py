"""What is installed of nkipy and its packages, what they found, and what works."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import (
    Distribution,
    PackageNotFoundError,
    distribution,
    distributions,
)
from importlib.util import find_spec

import numpy as np

import nkipy
from nkipy.installed import check_package, how_to_install

_PACKAGES = ("nkipy", "spike")
_EMULATOR = "nkipy-emulator"
_KERNELS = "nkipy-nki"
#: Results may differ between versions of these.
_LIBRARIES = ("numpy", "ml_dtypes", "protobuf", "jaxlib")
_WAYS = ("simulate_jit", "baremetal_jit")


@dataclass(frozen=True)
class Part:
    """Something that works or does not.

    Attributes:
        name: what it is.
        text: what was found of it, or why it does not work.
        works: whether it does.
    """

    name: str
    text: str
    works: bool = True


def examine() -> list[Part]:
    """All parts, those first that others need. A small kernel is run in each way."""
    return [
        Part("Python", f"{sys.version.split()[0]} ({sys.executable})"),
        Part("nkipy", f"{nkipy.__version__} in {nkipy.__path__[0]}"),
        _tried("spike", _spike),
        *_others(),
        *_nki(),
        Part("libraries", ", ".join(_libraries())),
        _tried("engine", _engine),
        _tried("compiler", _compiler),
        *_libnrt(),
        *(_tried(way, partial(_run, way)) for way in _WAYS),
    ]


def is_well(parts: list[Part]) -> bool:
    """Whether a kernel can run somewhere, and no package is of another version."""
    failed = {part.name for part in parts if not part.works}
    some_way = not failed.issuperset(_WAYS)
    return some_way and failed <= {*_WAYS, *_PACKAGES, "engine", "compiler", "libnrt"}


def report(parts: list[Part]) -> str:
    """The parts as lines of text: names, and what was found of each."""
    width = max(len(part.name) for part in parts) + 2
    said = {True: "", False: "DOES NOT WORK: "}
    lines = [f"{p.name + ':':{width}}{said[p.works]}{p.text}\n" for p in parts]
    return "".join(lines)


def _tried(name: str, find: Callable[[], str]) -> Part:
    try:
        return Part(name, find())
    except Exception as error:  # whatever goes wrong is what is to be shown
        text = " ".join(str(error).split())
        return Part(name, f"{type(error).__name__}: {text}", works=False)


# -- packages --------------------------------------------------------------------------
def _spike() -> str:
    check_package("spike")
    import spike

    return f"{spike.__version__} in {spike.__path__[0]}"


def _others() -> Iterator[Part]:
    """What requires one of our packages; and the emulator, even if it is missing."""
    found = {d.name: d for d in distributions() if _required(d)}
    if _EMULATOR not in found:
        yield Part(_EMULATOR, f"not installed: {how_to_install(_EMULATOR)}")
    for name, other in sorted(found.items()):
        exact = {r.partition("==")[2] for r in _required(other)} - {""}
        text = f"{other.version} in {other.locate_file('')}"
        if exact <= {nkipy.__version__}:
            yield Part(name, text)
        else:
            text += f", which is for nkipy {', '.join(exact)}: {how_to_install(name)}"
            yield Part(name, text, works=False)


def _required(package: Distribution) -> list[str]:
    """Its requirements of our packages, without markers."""
    names = "|".join((*_PACKAGES, _KERNELS))
    requirements = [r.partition(";")[0].strip() for r in package.requires or ()]
    return [r for r in requirements if re.match(rf"({names})(?![\w.-])", r)]


def _nki() -> Iterator[Part]:
    """What `import nki` reaches, ours or the vendor's, if anything."""

    def find() -> str:
        found = find_spec("nki")
        return f"is {found.origin}" if found else ""

    part = _tried("import nki", find)
    if part.text:
        yield part


def _libraries() -> Iterator[str]:
    for name in _LIBRARIES:
        try:
            yield f"{name} {distribution(name).version}"
        except PackageNotFoundError:
            yield f"no {name}"


# -- what they found -------------------------------------------------------------------
def _engine() -> str:
    from nkipy.execution import find_engine

    return find_engine().identity


def _compiler() -> str:
    from nkipy.compiler.discovery import find_compiler

    found = find_compiler()
    return f"{found.identity} ({' '.join(found.command)})"


def _libnrt() -> Iterator[Part]:
    found: dict[str, str] = {}

    def find() -> str:
        check_package("spike")
        from spike.library import facts

        found.update(facts())
        return found["libnrt"]

    yield _tried("libnrt", find)
    for name in ("chosen because", "version", "visible cores"):
        if name in found:
            yield Part(name, found[name])


def _run(way: str) -> str:
    """Run a kernel in that way, and compare its result with NumPy's."""
    from nkipy import runtime

    x = np.arange(8, dtype=np.float32)
    result = getattr(runtime, way)(_kernel)(x)
    np.testing.assert_array_equal(result, _kernel(x))
    return "works"


def _kernel(x: np.ndarray) -> np.ndarray:
    return x * 2 + 1
