"""Places where a captured value stands: reading one, writing it, saying which it is.

A reader takes no arguments and gives what is there, :data:`MISSING` if nothing is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import CellType, MemberDescriptorType
from typing import Any

from nkipy.core.errors import NKIPyValueError
from nkipy.core.tree import DEEPEST

Read = Callable[[], Any]


class _Missing:
    """The type of :data:`MISSING`."""

    def __repr__(self) -> str:
        return "<missing>"


#: Stands for the value of a place where there is none.
MISSING: Any = _Missing()


def entry(space: dict[str, Any], name: str) -> Read:
    """A reader of a global or a builtin."""
    return partial(space.get, name, MISSING)  # in C: most readers are of this kind


def cell_value(cell: CellType) -> Any:
    """What a closure variable is."""
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def class_member(kind: type, name: str) -> Any:
    """What `kind` itself, not a base, has by that name."""
    return vars(kind).get(name, MISSING)


def item(read: Read, key: Any) -> Any:
    """What the container that `read` gives holds under that key or index."""
    try:
        return read()[key]
    except LookupError:
        return MISSING


def default(function: Any, value: Any) -> Any:
    """A default of `function`, or the dict of those that only have names."""
    return value


def holder_of_default(read: Read) -> Any:
    """The function or partial function that `read` gives a default of, or None.

    Also of what a container holds that is a default.
    """
    while (parts := _parts(read))[0] is item:
        read = parts[1][0]
    function, args = parts
    if function is default or (function is getattr and args[1] == "keywords"):
        return args[0]
    return None


def refuse_deep(read: Read) -> None:
    """Raise ValueError if what `read` gives is within very many containers."""
    depth = 0
    while (parts := _parts(read))[0] is item:
        read, depth = parts[1][0], depth + 1
    if depth > DEEPEST:
        raise NKIPyValueError(
            f"the kernel captures more than {DEEPEST} containers within each other, "
            "which cannot be watched; keep what they hold in one, or in objects"
        )


def own_attribute(value: Any, name: str) -> Any:
    """An attribute from the object itself, without its class having a say."""
    try:
        return value.__dict__[name]
    except (AttributeError, KeyError, TypeError):  # a __getattribute__ may lie
        return _slot(value, name)


def _slot(value: Any, name: str) -> Any:
    for kind in type(value).__mro__:
        member = vars(kind).get(name)
        if isinstance(member, MemberDescriptorType):
            try:
                return member.__get__(value)
            except AttributeError:
                break
    return MISSING


def write(read: Read, value: Any) -> None:
    """Have `read` give `value` again."""
    function, args = _parts(read)
    if function is own_attribute:
        holder, name = args
        if value is MISSING:
            object.__delattr__(holder, name)
        else:
            object.__setattr__(holder, name, value)
    elif function is class_member:
        kind, name = args
        if value is MISSING:
            delattr(kind, name)
        else:
            setattr(kind, name, value)
    elif function is item:
        read_container, key = args
        read_container()[key] = value
    elif function is cell_value:
        args[0].cell_contents = value
    elif (space := _space_of(function)) is not None:
        space[args[0]] = value


def describe(read: Read) -> str:
    """The place that `read` reads, in words."""
    function, args = _parts(read)
    if function is own_attribute:
        return f"attribute {args[1]!r} of a {type(args[0]).__name__}"
    if function is class_member:
        return f"attribute {args[1]!r} of the class {args[0].__name__}"
    if function is default:
        return f"a default of {args[0].__qualname__}"
    if _space_of(function) is not None:
        return f"the global {args[0]!r}"
    return f"item {args[1]!r}" if function is item else "a variable"


def _parts(read: Any) -> tuple[Any, Any]:
    return getattr(read, "func", None), getattr(read, "args", ())


def _space_of(function: Any) -> dict[str, Any] | None:
    """The namespace that :func:`entry` reads from."""
    holder = getattr(function, "__self__", None)
    return holder if isinstance(holder, dict) else None
