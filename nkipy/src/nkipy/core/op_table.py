"""The tables that the op registry fills and tensors look up.

They stand alone so that neither side imports the other.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from typing import Any, Protocol, TypeVar


class Callee(Protocol):
    """What tensors know of an op: how to call it, and what part of NumPy it is of."""

    chapter: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def called(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """``self(*args, **kwargs)``, called for the user by one other function."""


K = TypeVar("K")
V = TypeVar("V")


class OpTable(dict[K, V]):
    """Ops by a key. Those in chapters are entered when they are first asked for.

    Who goes through the table, or counts, has all of them entered.

    Attributes:
        enter: enters the op of a key, if there is one. The registry of ops puts its own
            function here, and in the other place.
        enter_all: enters all that there are.
    """

    def __init__(self) -> None:
        super().__init__()
        self.enter: Callable[[Any], None] = lambda key: None
        self.enter_all: Callable[[], None] = lambda: None

    def __missing__(self, key: K) -> V:
        self.enter(key)
        if dict.__contains__(self, key):
            return dict.__getitem__(self, key)
        raise KeyError(key)

    def get(self, key: K, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def __contains__(self, key: object) -> bool:
        return self.get(key) is not None  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[K]:
        self.enter_all()
        return super().__iter__()

    def __len__(self) -> int:
        self.enter_all()
        return super().__len__()

    def keys(self) -> KeysView[K]:  # type: ignore[override]
        self.enter_all()
        return super().keys()

    def values(self) -> ValuesView[V]:  # type: ignore[override]
        self.enter_all()
        return super().values()

    def items(self) -> ItemsView[K, V]:  # type: ignore[override]
        self.enter_all()
        return super().items()


#: Every op with a record, by name.
OPS: OpTable[str, Callee] = OpTable()
#: NumPy's functions and ufuncs, each to the op that answers it.
NUMPY_TABLE: OpTable[Callable[..., Any], Callee] = OpTable()
#: For what stands in the place of a function of NumPy's while a kernel is traced, that
#: function.
ORIGINALS: dict[Any, Any] = {}


def original(function: Any) -> Any:
    """A function of NumPy's, also while a kernel is traced; all else is as it is.

    Files of records may be imported then, too.
    """
    return ORIGINALS.get(function, function)
