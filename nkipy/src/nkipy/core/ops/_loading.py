"""Importing the files of records when one of their ops is first asked for.

The index, which is made from the records, says which file has an op. An op that the
index lacks, in a file that is new, is found as well: all files are imported then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextvars import Context
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol, cast

from nkipy.core import op_table
from nkipy.core.op_table import OpTable
from nkipy.core.ops import _index


class Record(Protocol):
    """What is to be known of an op to find it; see :class:`Op`."""

    name: str
    aliases: tuple[str, ...]
    module: str
    chapter: str
    numpy: tuple[Callable[..., Any], ...]

    @property
    def implementation(self) -> Callable[..., Any] | None: ...


OPS = cast("OpTable[str, Record]", op_table.OPS)
NUMPY_TABLE = cast("OpTable[Callable[..., Any], Record]", op_table.NUMPY_TABLE)

PACKAGE = __name__.rpartition(".")[0]
#: The ops of files that nobody has asked for one, by module and name. Until a file is
#: read to its end no thread finds them, which would be without their implementation.
_waiting: dict[str, dict[str, Record]] = {}
_imported: list[bool] = []  # whether all files are


def numpy_name(function: Any) -> str:
    """``numpy.linalg.norm``, say: where users find a function of NumPy's."""
    module = getattr(function, "__module__", None) or "numpy"
    return f"{module}.{function.__name__}"


def name_in_numpy(function: Any) -> str:
    """``linalg.norm``, say: the name by which the index has a function of NumPy's."""
    return numpy_name(function).removeprefix("numpy.")


# -- registering -----------------------------------------------------------------------
def add(op: Record) -> None:
    """Have an op found. Raises ValueError where another has its name or function."""
    if _file_of(op.name) == op.module:
        waiting = _waiting.setdefault(op.module, {})
        if op.name in waiting or dict.__contains__(OPS, op.name):
            raise _taken(op)
        waiting[op.name] = op
        return
    if not op.module.startswith(f"{PACKAGE}."):
        _enter_rivals(op)
    _enter([op])


def _enter_rivals(op: Record) -> None:
    """Enter what chapters have by the name of an op, or for its functions."""
    if op.name in _index.FILES:
        OPS.get(op.name)
    for function in op.numpy:
        if _name_in_index(function) is not None:
            NUMPY_TABLE.get(function)


def remove(op: Record) -> None:
    """Have an op found no longer."""
    _waiting.get(op.module, {}).pop(op.name, None)
    OPS.pop(op.name, None)
    for function in op.numpy:
        NUMPY_TABLE.pop(function, None)


def _enter(found: Iterable[Record]) -> None:
    """Put ops into the tables: several threads may do so with the same ones at once."""
    named = {op.name: op for op in found}
    answers = {function: op for op in named.values() for function in op.numpy}
    for op in named.values():
        if dict.get(OPS, op.name, op) is not op:
            raise _taken(op)
    for function, op in answers.items():
        other = dict.get(NUMPY_TABLE, function, op)
        if other is not op:
            raise ValueError(f"{function} is answered by {other!r}")
    OPS.update(named)
    NUMPY_TABLE.update(answers)


def _taken(op: Record) -> ValueError:
    return ValueError(f"an op named {op.name!r} is registered already")


# -- finding ---------------------------------------------------------------------------
def attribute(inner: str, name: str) -> Record | ModuleType | None:
    """What the package `inner`, within that of all ops, has by a name.

    An op by any of its names, a chapter, or a file of one; None if there is none.
    """
    if name.startswith("_") or not name.isidentifier():
        return None
    below = f"{inner}.{name}".lstrip(".")
    if below in _modules():
        _import(f"{PACKAGE}.{below}")
        return sys.modules[f"{PACKAGE}.{below}"]
    op = OPS.get(_index.ALIASES.get(name, name))
    if op is None:
        op = next((op for op in OPS.values() if name in op.aliases), None)
    return op if op is not None and inner in ("", op.chapter) else None


@cache
def _modules() -> frozenset[str]:
    """The chapters, and their files that have records."""
    files = set(_index.FILES.values())
    return frozenset(files | {file.partition(".")[0] for file in files})


def _enter_op(name: str) -> None:
    _enter_by_index(name)
    if not dict.__contains__(OPS, name):
        enter_all()


def _enter_answer(function: Any) -> None:
    name = _name_in_index(function)
    if name is not None:
        _enter_by_index(name)
    if not dict.__contains__(NUMPY_TABLE, function):
        enter_all()


def _name_in_index(function: Any) -> str | None:
    """The op that the index has for a function of NumPy's."""
    if not hasattr(function, "__name__"):
        return None
    return _index.ANSWERS.get(name_in_numpy(function))


def _enter_by_index(name: str) -> None:
    """Enter the ops of the file that the index has for one, if it is there."""
    file = _file_of(name)
    if file is None:
        return
    try:
        _enter_file(file)
    except ModuleNotFoundError as error:
        if not f"{file}.".startswith(f"{error.name}."):
            raise


def _file_of(name: str) -> str | None:
    file = _index.FILES.get(name)
    return None if file is None else f"{PACKAGE}.{file}"


def _enter_file(module: str) -> None:
    """Import a file, unless it is, and enter its ops."""
    _import(module)
    found = _waiting.get(module, {})
    refuse_unfinished(found.values())
    _enter(found.values())
    _waiting.pop(module, None)


def _import(module: str) -> None:
    # What the kernel that is being traced has set in its context is not for the file.
    try:
        Context().run(import_module, module)
    except BaseException:  # what has failed is imported anew the next time
        for each in list(_waiting):
            if each not in sys.modules:
                _waiting.pop(each, None)
        raise


# -- all of them -----------------------------------------------------------------------
def enter_all() -> None:
    """Import every file, and enter its ops."""
    if not _imported:
        import_all(PACKAGE, sys.modules[PACKAGE].__path__)
        _imported.append(True)
    for module in list(_waiting):
        _enter_file(module)


def import_all(package: str, path: Iterable[str]) -> None:
    """Import the files of a package, and of those in it.

    Raises:
        TypeError: a record in one has no implementation.
    """
    from pkgutil import iter_modules

    for found in sorted(iter_modules(path), key=lambda found: found.name):
        if not found.name.startswith("_"):
            module = f"{package}.{found.name}"
            _import(module)
            if found.ispkg:
                import_all(module, sys.modules[module].__path__)
    entered = list(dict.values(OPS))
    refuse_unfinished(op for op in entered if op.module.startswith(f"{package}."))


def refuse_unfinished(found: Iterable[Record]) -> None:
    """Refuse records that lack an implementation.

    Raises:
        TypeError: there is one; the text names the op and its file.
    """
    for op in found:
        if op.implementation is None:
            file = getattr(sys.modules.get(op.module), "__file__", op.module)
            raise TypeError(
                f"the record of op {op.name!r} in {file} has no implementation: give "
                f'it one by @{op.name}.impl("hlo") or @{op.name}.composed_impl'
            )


op_table.OPS.enter, op_table.OPS.enter_all = _enter_op, enter_all
op_table.NUMPY_TABLE.enter, op_table.NUMPY_TABLE.enter_all = _enter_answer, enter_all
