"""Writes what editors and type checkers see of the ops, from their records.

    uv run tools/generate_op_stubs.py            # write the files anew
    uv run tools/generate_op_stubs.py --check    # exit code 1 if one is not current

At run time each op is an object; to who reads the stubs it is a function, with the
signature and the docstring that its record has. The files are in git, so that editors
find them in a clone as well as in a wheel: one for each chapter that is a package, and
one for ``nkipy.core.ops``, with the ops of the other chapters.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from inspect import Parameter, Signature, cleandoc, signature

from generated_files import ROOT, main

from nkipy.core import ops
from nkipy.core.ops._loading import name_in_numpy
from nkipy.core.ops._registry import OPS, Op

PACKAGE = ops.__name__
FOLDER = f"nkipy/src/{PACKAGE.replace('.', '/')}"
_NOTE = "Made from the records of ops by tools/generate_op_stubs.py; not to be edited."
_WIDTH = 88
_LITERALS = (bool, int, float, type(None))
#: Where the names in annotations are from; typing's own come first, as ruff has it.
_IMPORTS = {
    "Callable": "collections.abc",
    "Iterable": "collections.abc",
    "Sequence": "collections.abc",
    "Any": "typing",
    "ArrayLike": "numpy.typing",
    "DTypeLike": "numpy.typing",
    "NDArray": "numpy.typing",
}


def functions_of(found: Iterable[Op]) -> str:
    """The ops as functions, each with its other names."""
    parts = []
    for op in sorted(found, key=lambda op: op.name):
        parts.append(_function(op))
        parts += [f"{alias} = {op.name}\n" for alias in op.aliases]
    return "\n".join(parts)


def _function(op: Op) -> str:
    found = signature(op)
    head = f"def {op.name}({', '.join(_parameters(found))}) -> {_result(found)}:"
    if len(head) > _WIDTH:
        lines = "".join(f"    {p},\n" for p in _parameters(found))
        head = f"def {op.name}(\n{lines}) -> {_result(found)}:"
    return f"{head}\n{textwrap.indent(_docstring(op), '    ')}"


def _parameters(found: Signature) -> Iterator[str]:
    """The parameters as the source would have them, with the marks between kinds."""
    last = None
    for p in found.parameters.values():
        if last is Parameter.POSITIONAL_ONLY and p.kind is not last:
            yield "/"
        if p.kind is Parameter.KEYWORD_ONLY and last not in _AFTER_STAR:
            yield "*"
        yield str(p.replace(default=_default(p)))
        last = p.kind
    if last is Parameter.POSITIONAL_ONLY:
        yield "/"


_AFTER_STAR = (Parameter.KEYWORD_ONLY, Parameter.VAR_POSITIONAL)


class _Shown(str):
    """A text that is its own ``repr``."""

    def __repr__(self) -> str:
        return str(self)


def _default(parameter: Parameter) -> object:
    default = parameter.default
    if default is Parameter.empty:
        return default
    if isinstance(default, str):
        return _Shown(json.dumps(default))
    return default if isinstance(default, _LITERALS) else _Shown("...")


def _result(found: Signature) -> str:
    return str(found.return_annotation)


def _docstring(op: Op) -> str:
    text = cleandoc(op.__doc__ or "")
    if "\n" in text:
        text += "\n"
    prefix = "r" if "\\" in text else ""
    return f'{prefix}"""{text}"""\n'


def module(title: str, body: str, *imports: str) -> str:
    """A stub: its title, what it imports, and its body."""
    code = re.sub(r'""".*?"""', "", body, flags=re.S)
    used: dict[str, set[str]] = {}
    for name, source in _IMPORTS.items():
        if re.search(rf"\b{name}\b", code):
            used.setdefault(source, set()).add(name)
    lines = [f"from {s} import {', '.join(sorted(n))}" for s, n in used.items()]
    standard = [line for line in lines if "numpy" not in line]
    third = [line for line in lines if "numpy" in line]
    if "np." in code:
        third.insert(0, "import numpy as np")
    blocks = [standard, third, list(imports)]
    head = "\n\n".join("\n".join(block) for block in blocks if block)
    return f'"""{title}\n\n{_NOTE}\n"""\n\n{head}\n\n{body}'


def _title(name: str) -> str:
    return (import_module(name).__doc__ or "").partition("\n")[0]


def _identified(chapter: str) -> list[Op]:
    of_it = (op for op in OPS.values() if op.chapter == chapter)
    return [op for op in of_it if op.name.isidentifier()]


def _is_package(chapter: str) -> bool:
    return (ROOT / FOLDER / chapter / "__init__.py").exists()


def _chapter_stub(chapter: str) -> Callable[[], str]:
    return lambda: module(
        _title(f"{PACKAGE}.{chapter}"), functions_of(_identified(chapter))
    )


def _chapters() -> list[str]:
    own = {op.chapter for op in OPS.values() if op.module.startswith(f"{PACKAGE}.")}
    return sorted(chapter for chapter in own if _identified(chapter))


def package_stub() -> str:
    """The stub of the package: all ops by name."""
    imports = [f"from {PACKAGE}._registry import Op as Op"]
    imports += [
        f"from {PACKAGE}._registry import {name} as {name}"
        for name in ("get_backend", "set_source_location")
    ]
    here: list[Op] = []
    for chapter in _chapters():
        if _is_package(chapter):
            imports += [
                f"from {PACKAGE}.{chapter} import {name} as {name}"
                for op in _identified(chapter)
                for name in (op.name, *op.aliases)
            ]
        else:
            here += _identified(chapter)
    return module(_title(PACKAGE), functions_of(here), *sorted(imports, key=_natural))


def _natural(line: str) -> tuple[str, list[tuple[str, int]]]:
    """By module, then by name; ``log2`` comes before ``log10``."""
    _, module_name, _, name, *_ = line.split()
    parts = re.findall(r"(\D+)(\d*)", name)
    return module_name, [(text, int(number or 0)) for text, number in parts]


def index() -> str:
    """Which file has an op: what is to be imported when it is asked for."""
    own = [op for op in OPS.values() if op.module.startswith(f"{PACKAGE}.")]
    files = {op.name: op.module.removeprefix(f"{PACKAGE}.") for op in own}
    aliases = {alias: op.name for op in own for alias in op.aliases}
    answers = {name_in_numpy(f): op.name for op in own for f in op.numpy}
    tables = (
        _table("FILES", "The file of each op.", files),
        _table("ALIASES", "The op of each other name.", aliases),
        _table("ANSWERS", "The op that answers a function of NumPy's.", answers),
    )
    return f'"""Where ops are.\n\n{_NOTE}\n"""\n\n' + "\n".join(tables)


def _table(name: str, text: str, entries: dict[str, str]) -> str:
    lines = [f'    "{key}": "{value}",\n' for key, value in sorted(entries.items())]
    return f"#: {text}\n{name} = {{\n{''.join(lines)}}}\n"


GENERATED: dict[str, Callable[[], str]] = {
    f"{FOLDER}/_index.py": index,
    f"{FOLDER}/__init__.pyi": package_stub,
    **{
        f"{FOLDER}/{chapter}/__init__.pyi": _chapter_stub(chapter)
        for chapter in _chapters()
        if _is_package(chapter)
    },
}


if __name__ == "__main__":
    sys.exit(main(__doc__, GENERATED))
