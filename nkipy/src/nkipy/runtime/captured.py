"""What a function takes from outside of its arguments, as far as its code shows.

The walk starts at a function and follows what its code names: globals, closures,
defaults, functions called, methods of the objects and classes found, and attributes
that any of that code names. Code of Python's and of the array libraries is not looked
into.
"""

from __future__ import annotations

import argparse
import dis
import functools
import sys
from collections.abc import Callable, Iterator
from types import (
    CodeType,
    FunctionType,
    MemberDescriptorType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any

import numpy as np

from nkipy.core.roles import is_internal

Read = Callable[[], Any]
#: Top-level packages of others' whose functions, classes and attributes no author of
#: kernels changes. Our own say so by a marker: see :mod:`nkipy.core.roles`.
_CONSTANT = sys.stdlib_module_names | {"jax", "ml_dtypes", "numpy", "scipy", "torch"}
#: With one of these, code reaches attributes without naming them.
_DYNAMIC = frozenset(("getattr", "vars", "__dict__", "attrgetter", "__getattribute__"))
#: Standard classes whose objects are there to hold somebody's attributes.
_NAMESPACES = (SimpleNamespace, argparse.Namespace)
#: Objects of NumPy's that hold nothing of others.
_NUMPYS_OWN = (type, np.finfo, np.iinfo, np.ufunc, type(np.mean))
#: Methods of the builtin containers that return nothing of what is in them.
_ONLY_WRITE = frozenset(
    ("add", "append", "appendleft", "clear", "discard", "extend", "extendleft")
    + ("insert", "update")
)
_IMPORT = dis.opmap["IMPORT_NAME"]
_WRAPPERS = (staticmethod, classmethod)


def is_constant(module: Any) -> bool:
    """Whether a module of this name holds nothing that can change."""
    if not isinstance(module, str):  # extension types may have a descriptor there
        return module is not None
    return module.partition(".")[0] in _CONSTANT or is_internal(module)


def names_in(code: CodeType) -> Iterator[str]:
    """Globals and attributes that the code names, and functions within it."""
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from names_in(const)


class Names:
    """The names that the code seen so far uses."""

    def __init__(self) -> None:
        self.all: set[str] = set()

    def add(self, code: CodeType) -> None:
        self.all.update(names_in(code))

    def of(self, attributes: Any, *, dynamic: bool = True) -> list[str]:
        """Those of `attributes` that the code may reach, in order.

        Args:
            dynamic: whether code that names no attributes may reach them all.
        """
        if not attributes:
            return []
        if dynamic and not self.all.isdisjoint(_DYNAMIC):
            return sorted(map(str, attributes))
        return sorted(self.all.intersection(attributes))


def functions_of(member: Any) -> list[FunctionType]:
    """The functions that a member of a class consists of."""
    if isinstance(member, FunctionType):
        return [member]
    if isinstance(member, _WRAPPERS):
        return functions_of(member.__func__)
    if isinstance(member, property):
        parts = (member.fget, member.fset)
        return [f for part in parts for f in functions_of(part)]
    if isinstance(member, (functools.cached_property, functools.partialmethod)):
        return functions_of(member.func)
    return []


def outside_of(function: FunctionType, names: Names) -> Iterator[Read]:
    """Readers of what `function` takes from outside: globals, cells, defaults."""
    space = function.__globals__
    for name in sorted(set(names_in(function.__code__)) & space.keys()):
        if "@" in name:  # no source can name it: pytest writes such into an assert
            continue
        yield functools.partial(space.__getitem__, name)
    for cell in function.__closure__ or ():
        yield functools.partial(getattr, cell, "cell_contents")
    for default in function.__defaults__ or ():
        yield functools.partial(_same, default)
    for default in (function.__kwdefaults__ or {}).values():
        yield functools.partial(_same, default)
    for name in names.of(vars(function)):
        yield functools.partial(own_attribute, function, name)
    if "__wrapped__" in vars(function):
        yield functools.partial(own_attribute, function, "__wrapped__")

    for name in imported_by(function.__code__):
        yield functools.partial(sys.modules.get, name)
        yield functools.partial(sys.modules.get, f"{space.get('__package__')}.{name}")


def imported_by(code: CodeType) -> Iterator[str]:
    """Names of the modules that the code imports when it runs."""
    if _IMPORT in code.co_code[::2]:
        for instruction in dis.get_instructions(code):
            if instruction.opcode == _IMPORT:
                yield instruction.argval
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from imported_by(const)


def is_whole(function: FunctionType, names: Names) -> Callable[[], bool]:
    """Whether no part of the function has been replaced, as reloading a module does."""
    code, defaults = function.__code__, function.__defaults__
    closure, attributes = function.__closure__, names.of(vars(function))
    return lambda: (
        function.__code__ is code
        and function.__defaults__ is defaults
        and function.__closure__ is closure
        and names.of(function.__dict__) == attributes
    )


def is_bound(read: Read) -> bool:
    """Whether the global or the cell has a value as yet."""
    try:
        read()
    except (KeyError, ValueError):
        return False
    return True


def is_only_write(method: Any) -> bool:
    """Whether a bound method of a builtin container cannot tell what is in it."""
    return method.__name__ in _ONLY_WRITE and is_constant(
        type(method.__self__).__module__
    )


def class_members(kind: type, names: Names) -> Iterator[tuple[type, str]]:
    """(class, name) of what code may reach in `kind` and its bases.

    Operators and the like are reached without their names.
    """
    for each in changing(kind):
        members = vars(each)
        special = {
            n for n in members if n.startswith("__") and functions_of(members[n])
        }
        reached = set(names.of(members))
        # What the compiler and the interpreter put there is no state.
        reached -= {n for n in reached if n.startswith("__")}
        for name in sorted(special | reached):
            if not isinstance(members[name], MemberDescriptorType):
                yield each, name


def changing(kind: type) -> list[type]:
    """`kind` and those of its bases that somebody may change."""
    return [each for each in kind.__mro__ if not is_constant(each.__module__)]


def known_names(kind: type, names: Names) -> set[str]:
    """What `kind` itself has of the names: a new one hides that of a base."""
    return names.all.intersection(vars(kind))


def class_member(kind: type, name: str) -> Any:
    """What `kind` itself, not a base, has by that name."""
    return vars(kind).get(name, class_member)


@functools.lru_cache(maxsize=1024)
def _slots_of(kind: Any) -> list[str]:
    return [
        name
        for each in kind.__mro__
        for name, member in vars(each).items()
        if isinstance(member, MemberDescriptorType)
    ]


def _numpys_attributes(value: Any) -> list[str] | None:
    """All attributes of an object of NumPy's that is made of others' data.

    No code that is looked into names what `vectorize` calls, or the coefficients of a
    polynomial. None for what is not such an object, and for what cannot change.
    """
    kind = type(value)
    if kind.__module__.partition(".")[0] != "numpy" or isinstance(value, _NUMPYS_OWN):
        return None
    return sorted(n for n in getattr(value, "__dict__", ()) if not _is_special(n))


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def own_names(value: Any, names: Names) -> list[str]:
    """Attributes of an object's own, or a module's, that code may reach."""
    of_numpys = _numpys_attributes(value)
    if of_numpys is not None:
        return of_numpys
    if isinstance(value, ModuleType) and is_constant(value.__name__):
        return []
    if is_constant(type(value).__module__) and not hasattr(value, "__dict__"):
        return []
    kind: Any = type(value)
    slots = [name for name in _slots_of(kind) if hasattr(value, name)]
    # A logger, say, leads to half of the process, and to nothing that a kernel reads.
    dynamic = not is_constant(type(value).__module__) or type(value) in _NAMESPACES
    return names.of([*getattr(value, "__dict__", ()), *slots], dynamic=dynamic)


def item(read: Read, key: Any) -> Any:
    """What the container that `read` gives holds under that key or index."""
    try:
        return read()[key]
    except LookupError:
        return item


def own_attribute(value: Any, name: str) -> Any:
    """An attribute from the object itself, without its class having a say."""
    space = getattr(value, "__dict__", {})
    if name in space:
        return space[name]
    for kind in type(value).__mro__:
        member = vars(kind).get(name)
        if isinstance(member, MemberDescriptorType):
            try:
                return member.__get__(value)
            except AttributeError:
                break
    return own_attribute


def write(read: Read, value: Any) -> None:
    """Have `read`, of an attribute or an item, give `value` again."""
    function, args = _parts(read)
    if function is own_attribute:
        holder, name = args
        object.__setattr__(holder, name, value)
    elif function is class_member:
        kind, name = args
        setattr(kind, name, value)
    elif function is item:
        read_container, key = args
        read_container()[key] = value


def describe(read: Read) -> str:
    """The place that `read` reads, in words."""
    function, args = _parts(read)
    if function is own_attribute:
        return f"attribute {args[1]!r} of a {type(args[0]).__name__}"
    if function is class_member:
        return f"attribute {args[1]!r} of the class {args[0].__name__}"
    return f"item {args[1]!r}" if function is item else "a variable"


def _parts(read: Any) -> tuple[Any, Any]:
    return getattr(read, "func", None), getattr(read, "args", ())


def _same(value: Any) -> Any:
    return value
