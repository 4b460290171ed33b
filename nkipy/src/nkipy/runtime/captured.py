"""What a function takes from outside of its arguments, as far as its code shows.

The walk starts at a function and follows what its code names: globals, closures,
defaults, functions called, methods of the objects and classes found, and attributes
that any of that code names. Code of Python's and of the array libraries is not looked
into.
"""

from __future__ import annotations

import collections
import enum
import functools
import gc
import operator
import sys
from collections.abc import Callable, Iterator
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MemberDescriptorType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any, cast

import numpy as np

from nkipy.core.roles import is_internal
from nkipy.runtime.code_names import mentioned_by
from nkipy.runtime.places import (
    Read,
    cell_value,
    class_member,
    default,
    entry,
    own_attribute,
)

Check = Callable[[], bool]
#: Top-level packages of others' whose functions, classes and attributes no author of
#: kernels changes. Our own say so by a marker: see :mod:`nkipy.core.roles`.
_CONSTANT = sys.stdlib_module_names | {"jax", "ml_dtypes", "numpy", "scipy", "torch"}
#: With one of these, code reaches attributes without naming them.
_DYNAMIC = frozenset(
    ("getattr", "hasattr", "vars", "dir", "__dict__", "__getattribute__")
    + ("attrgetter", "methodcaller", "getmembers", "getattr_static")
    + ("asdict", "astuple", "fields")
)
_DYNAMIC_FUNCTIONS = (getattr, hasattr, vars, dir)
_DYNAMIC_TYPES = (operator.attrgetter, operator.methodcaller)
#: With one of these, texts in the code may be names of modules.
_IMPORTING = frozenset(("import_module", "__import__", "modules"))
#: Standard classes whose objects hold the attributes of somebody else.
_OPEN = (SimpleNamespace, FunctionType)
#: Objects of NumPy's that hold nothing of others.
_NUMPYS_OWN = (type, np.finfo, np.iinfo, np.ufunc, type(np.mean))
#: Methods of the builtin containers that return nothing of what is in them.
_ONLY_WRITE = frozenset(
    ("add", "append", "appendleft", "clear", "discard", "extend", "extendleft")
    + ("insert", "update")
)
_WRAPPERS = (staticmethod, classmethod)
#: What holds functions that no code names, and in which attributes.
_PARTS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (_WRAPPERS, ("__func__",)),
    (property, ("fget", "fset", "fdel")),
    (functools.cached_property, ("func",)),
    (functools.partialmethod, ("func", "args", "keywords")),
    (functools.singledispatchmethod, ("dispatcher", "func")),
    (functools.partial, ("func", "args", "keywords")),
    (collections.defaultdict, ("default_factory",)),
)
#: What the compiler and the interpreter put into a class, which is no state.
_INTERPRETERS = frozenset(
    ("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__slots__")
    + ("__annotations__", "__annotate__", "__annotate_func__", "__firstlineno__")
    + ("__annotations_cache__", "__static_attributes__", "__orig_bases__")
    + ("__parameters__", "__type_params__", "__abstractmethods__", "__class_getitem__")
    + ("__classcell__", "__classdictcell__", "__dataclass_params__")
)


def is_constant(module: Any) -> bool:
    """Whether a module of this name holds nothing that can change."""
    if not isinstance(module, str):  # extension types may have a descriptor there
        return module is not None
    return module.partition(".")[0] in _CONSTANT or is_internal(module)


class Names:
    """The names of attributes that the code seen so far uses."""

    def __init__(self) -> None:
        self.all: set[str] = set()
        self._texts: set[str] = set()
        self._read: set[str] = set()
        self._stored: set[str] = set()
        self.is_dynamic = False

    def add(self, code: CodeType) -> None:
        """Note what `code` names."""
        mentioned = mentioned_by(code)
        self.all |= mentioned.attributes
        self._texts |= mentioned.texts
        self._read |= mentioned.read
        self._stored |= mentioned.stored
        if mentioned.matches or not _DYNAMIC.isdisjoint(mentioned.attributes):
            self.is_dynamic = True
        if self.is_dynamic:
            self.all |= self._texts

    def add_dynamic(self) -> None:
        """Note that code reaches attributes without naming them."""
        self.is_dynamic = True
        self.all |= self._texts

    @property
    def only_stored(self) -> set[str]:
        """Attributes that the code sets, and never reads."""
        return set() if self.is_dynamic else self._stored - self._read

    @property
    def extent(self) -> tuple[int, bool]:
        """Differs after something new has been added."""
        return len(self.all), self.is_dynamic

    def of(self, attributes: Any, *, dynamic: bool = True) -> list[str]:
        """Those of `attributes` that the code may reach, in order.

        Args:
            dynamic: whether code that names no attributes may reach them all.
        """
        if not attributes:
            return []
        if dynamic and self.is_dynamic:
            return sorted(map(str, attributes))
        return sorted(self.all.intersection(attributes))


def reaches_by_text(value: Any) -> bool:
    """Whether `value`, when called, reads an attribute that no code names."""
    return isinstance(value, _DYNAMIC_TYPES) or any(
        value is function for function in _DYNAMIC_FUNCTIONS
    )


def functions_of(member: Any) -> list[FunctionType]:
    """The functions that a member of a class consists of."""
    if isinstance(member, FunctionType):
        return [member]
    return [f for part in parts_of(member) for f in functions_of(part())]


def parts_of(value: Any) -> list[Read]:
    """Readers of what a partial function, a property and the like are made of."""
    for kind, parts in _PARTS:
        if isinstance(value, kind):
            return [functools.partial(getattr, value, part) for part in parts]
    if isinstance(value, np.ufunc):  # no attribute leads to what np.frompyfunc took
        held = filter(callable, gc.get_referents(value))
        return [functools.partial(_itself, each) for each in held]
    return []


def _itself(value: Any) -> Any:
    return value


# -- functions -------------------------------------------------------------------------


def outside_of(function: FunctionType, names: Names) -> Iterator[Read]:
    """Readers of what `function` takes from outside: globals, cells, defaults.

    Its own parts are those that :func:`is_whole` looks at.
    """
    space = function.__globals__
    for name in sorted(global_names(function) & space.keys()):
        yield entry(space, name)
    for cell in function.__closure__ or ():
        yield functools.partial(cell_value, cell)
    for value in function.__defaults__ or ():
        yield functools.partial(default, function, value)
    if function.__kwdefaults__ is not None:
        yield functools.partial(default, function, function.__kwdefaults__)
    for name in own_names(function, names):
        yield functools.partial(own_attribute, function, name)
    if "__wrapped__" in vars(function):
        yield functools.partial(own_attribute, function, "__wrapped__")
    for module in sorted(modules_of(function)):
        yield functools.partial(sys.modules.get, module)


def global_names(function: FunctionType) -> frozenset[str]:
    """Names that the code of `function` looks up among its globals."""
    mentioned = mentioned_by(function.__code__)
    names = mentioned.globals
    if "globals" in names:
        names |= mentioned.texts
    # What no source can name, pytest writes into an assert.
    return frozenset(name for name in names if "@" not in name)


def modules_of(function: FunctionType) -> set[str]:
    """Names that modules have which the function imports, if they exist."""
    mentioned = mentioned_by(function.__code__)
    named = mentioned.modules
    if not _IMPORTING.isdisjoint(mentioned.attributes):
        named |= mentioned.texts
    found = {name for name in named if name}
    package = function.__globals__.get("__package__")
    while package and named:  # an import may be relative, to any of the packages
        found |= {f"{package}.{name}" if name else package for name in named}
        package = package.rpartition(".")[0]
    return found


def is_whole(function: FunctionType, names: Names) -> Check:
    """Whether no part of the function has been replaced, as reloading a module does.

    Nor has it got other attributes that code may reach.
    """
    code, defaults = function.__code__, function.__defaults__
    closure, keywords = function.__closure__, function.__kwdefaults__
    keeps = keeps_names(function, names) if function.__dict__ else None
    return lambda: (
        function.__code__ is code
        and function.__defaults__ is defaults
        and function.__closure__ is closure
        and function.__kwdefaults__ is keywords
        and (not function.__dict__ if keeps is None else keeps())
    )


class Spaces:
    """Names that functions look up in vain among their globals.

    Such a name is a builtin, or an error. That changes when there is a global of that
    name, or when the builtin is replaced.
    """

    def __init__(self) -> None:
        self._absent: dict[int, tuple[Any, Any, set[str]]] = {}

    def add(self, function: FunctionType) -> Iterator[Read]:
        """Note the names of `function`; readers of builtins that are not Python's."""
        space: dict[str, Any] = function.__globals__
        # Not every version of the types knows it.
        builtins: dict[str, Any] = cast(Any, function).__builtins__
        absent = global_names(function) - space.keys()
        if not absent:
            return
        _, _, known = self._absent.setdefault(id(space), (space, builtins, set()))
        for name in absent - known:
            if name in builtins and not _is_pythons(builtins[name]):
                yield entry(builtins, name)
        known |= absent

    def checks(self) -> Iterator[Check]:
        """Whether the names still lead where they did."""
        for space, builtins, absent in self._absent.values():
            yield _leads_to_builtins(space, builtins, absent)


def _leads_to_builtins(
    space: dict[str, Any], builtins: dict[str, Any], absent: set[str]
) -> Check:
    hides_none = space.keys().isdisjoint  # of the names that it has when it is called
    found = [name for name in absent if name in builtins]
    nowhere = absent.difference(found)
    checks: list[Check] = [lambda: hides_none(absent)]
    if found:
        get = operator.itemgetter(*found)
        values = get(builtins)
        checks = [lambda: hides_none(absent) and get(builtins) == values]
    if nowhere:
        checks.append(lambda: builtins.keys().isdisjoint(nowhere))
    return checks[0] if len(checks) == 1 else lambda: all(c() for c in checks)


def _is_pythons(value: Any) -> bool:
    """Whether `value` is a function or class written in C, of a standard module."""
    return isinstance(value, (type, BuiltinFunctionType)) and is_constant(
        value.__module__
    )


def is_only_write(method: Any) -> bool:
    """Whether a bound method of a builtin container cannot tell what is in it."""
    return method.__name__ in _ONLY_WRITE and is_constant(
        type(method.__self__).__module__
    )


# -- classes ---------------------------------------------------------------------------


def class_members(kind: type, names: Names) -> Iterator[Read]:
    """Readers of what code may reach in `kind` and its bases.

    Operators and the like are reached without their names.
    """
    for each in _changing(kind):
        members = vars(each)
        reached = set(names.of(members)) - (_INTERPRETERS - names.all)
        reached |= {name for name in members if _is_operator(name, members[name])}
        if issubclass(each, enum.Enum):
            reached.add("_member_map_")
        for name in sorted(reached):
            if not isinstance(members.get(name), MemberDescriptorType):
                yield functools.partial(class_member, each, name)


def is_same_class(kind: type) -> Check:
    """Whether `kind` has the bases, and each of them the members, that it has now."""
    bases = kind.__mro__
    spaces = [vars(each) for each in _changing(kind)]
    members = [[*space] for space in spaces]
    return lambda: kind.__mro__ is bases and [[*space] for space in spaces] == members


def _changing(kind: type) -> list[type]:
    """`kind` and those of its bases that somebody may change."""
    return [each for each in kind.__mro__ if not is_constant(each.__module__)]


def _is_operator(name: str, member: Any) -> bool:
    if not _is_special(name) or name in _INTERPRETERS:
        return False
    return member is None or callable(member) or bool(parts_of(member))


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


# -- objects ---------------------------------------------------------------------------


def own_names(value: Any, names: Names) -> list[str]:
    """Attributes of an object's own, or a module's, that code may reach."""
    of_numpys = _numpys_attributes(value)
    if of_numpys is not None:
        return of_numpys
    if _holds_nothing(value):
        return []
    kind: Any = type(value)
    own = [*_own_space(value), *slots_of(kind)]
    reached = names.of(own, dynamic=_is_open(value))
    if isinstance(value, enum.Enum):
        reached.append("_value_")  # `value`, a property of Python's, reads it
    return reached


def keeps_names(value: Any, names: Names) -> Check | None:
    """Whether `value` has no other attributes that code may reach than now."""
    of_numpys = _numpys_attributes(value)
    if of_numpys is not None:
        return lambda: _numpys_attributes(value) == of_numpys
    if _holds_nothing(value) or not hasattr(value, "__dict__"):
        return None
    if value.__dict__ is not _own_space(value):
        return None
    if names.is_dynamic and _is_open(value):
        kept = set(value.__dict__)
        return lambda: value.__dict__.keys() == kept
    absent = names.all - value.__dict__.keys()
    return lambda: value.__dict__.keys().isdisjoint(absent)


def _own_space(value: Any) -> dict[str, Any]:
    """The `__dict__` of an object; empty where a `__getattribute__` makes one up."""
    space = getattr(value, "__dict__", None)
    return space if isinstance(space, dict) else {}


def _holds_nothing(value: Any) -> bool:
    """Whether no attribute of `value` can change."""
    if isinstance(value, ModuleType):
        return is_constant(value.__name__)
    return is_constant(type(value).__module__) and not hasattr(value, "__dict__")


def _is_open(value: Any) -> bool:
    """Whether attributes count that no code names, if code reaches such.

    A logger, say, leads to half of the process, and to nothing that a kernel reads.
    """
    kind = type(value)
    if kind.__module__ == "argparse":  # importing it takes milliseconds
        return kind.__name__ == "Namespace"
    return not is_constant(kind.__module__) or kind in _OPEN


@functools.lru_cache(maxsize=1024)
def slots_of(kind: Any) -> list[str]:
    """The attributes that objects of a class have in slots."""
    return [
        name
        for each in kind.__mro__
        for name, member in vars(each).items()
        if isinstance(member, MemberDescriptorType) and not _is_special(name)
    ]


def _numpys_attributes(value: Any) -> list[str] | None:
    """All attributes of an object of NumPy's that is made of others' data.

    No code that is looked into names what `vectorize` calls, or the coefficients of a
    polynomial. None for what is not such an object, and for what cannot change.
    """
    kind = type(value)
    # A type of Cython's may have a descriptor for its module.
    package = str(kind.__module__).partition(".")[0]
    if package != "numpy" or isinstance(value, _NUMPYS_OWN):
        return None
    return sorted(n for n in getattr(value, "__dict__", ()) if not _is_special(n))
