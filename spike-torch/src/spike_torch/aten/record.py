"""What is known of one of torch's operators, and how a record is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

Cast = Literal["float32", "lower", "widest"]
Runs = Literal["", "whole", "refused"]
Padding = Literal["handled", "exact"]

#: ``lower(g, *args, **kwargs)`` with the operator's arguments: a Graph, then an Array
#: for each tensor, numbers, dtypes, lists of these. An Array for each result.
Lowering = Callable[..., Any]

#: Arguments of a call, as an operator's record makes some: by place, and by name.
Sample = tuple[tuple[Any, ...], dict[str, Any]]


class Operator(NamedTuple):
    """One of torch's operators, in one overload.

    Attributes:
        name: ``"aten::index.Tensor"``.
        host_arguments: arguments that may be on the CPU beside others on a core.
        cast: what ``torch.autocast("nkipy")`` casts floating-point arguments to, where
            torch casts for the CPU: float32, the lower precision, or the widest dtype
            among them ("CPU Op-Specific Behavior" in torch's documentation of amp).
        runs: who computes it on the CPU: its kernel, but for what torch puts together
            of other operators and what has a kernel of its own (""); the CPU as it is,
            where torch would put it together ("whole"); nobody ("refused").
        why: what is special about it.
        writes: arguments that the CPU writes to, where the schema does not say so.
        lower: makes HLO of it; None: there is no lowering, it always runs eagerly.
        unlowered: why there can be no lowering, in words that follow the operator's
            name; users are told.
        padding: whether `lower` is right where arrays have padding ("handled"); if not,
            sizes have to be exact.
        samples: names in torch's ``op_db`` of which samples reach it; ``""``: its own
            name. Or a function that makes arguments, where none does.
        decomposed: whether torch.compile takes torch's own decomposition into other
            operators where there is one, and leaves `lower` to the eager device.
        checks_values: whether the CPU refuses some values of tensors, as an index that
            is out of range: then the eager device leaves it to the CPU, whose error is
            wanted. What is refused where all numbers are 0, as dividing integers by
            them, is found without it.
        rounding: by how many steps of float32 `lower` may differ from the CPU, counted
            at the greatest number in a result, as it adds in another order.
    """

    name: str
    host_arguments: tuple[str, ...] = ()
    cast: Cast = "float32"
    runs: Runs = ""
    why: str = ""
    writes: tuple[str, ...] = ()
    lower: Lowering | None = None
    padding: Padding = "exact"
    samples: str | Callable[[], Iterator[Sample]] = ""
    decomposed: bool = False
    checks_values: bool = False
    rounding: int = 0
    unlowered: str = ""

    @property
    def is_special(self) -> bool:
        """Whether the CPU's kernel is told more than the schema."""
        facts = self.host_arguments, self.writes, self.runs
        return any(facts) or self.cast != "float32"


#: By name. Families add theirs when they are imported.
OPERATORS: dict[str, Operator] = {}

#: Find records of operators that are none of torch's, by name, and may come and go.
FINDERS: list[Callable[[str], Operator | None]] = []


def find(name: str) -> Operator | None:
    """The record of an operator of somebody else's."""
    return next(filter(None, (finder(name) for finder in FINDERS)), None)


def operator(names: str, **known: Any) -> None:
    """Record operators without lowering: `names` as in ``"index_put_ add.Tensor"``."""
    for name in names.split():
        _add(Operator(_full(name), **known))


def lowering(
    names: str, padding: Padding = "handled", **known: Any
) -> Callable[[Lowering], Lowering]:
    """Record operators whose lowering is the function that this decorates."""

    def record(lower: Lowering) -> Lowering:
        for name in names.split():
            _add(Operator(_full(name), lower=lower, padding=padding, **known))
        return lower

    return record


def _full(name: str) -> str:
    return name if "::" in name else f"aten::{name}"


def _add(given: Operator) -> None:
    """Have an operator's record say this, beside what other files say of it.

    Raises:
        ValueError: two say different things.
    """
    known = OPERATORS.get(given.name, Operator(given.name))
    changed = {}
    for field, default in Operator._field_defaults.items():
        said, before = getattr(given, field), getattr(known, field)
        if said != default and before not in (default, said):
            raise ValueError(f"{given.name} has two records, which differ in {field}")
        changed[field] = before if said == default else said
    OPERATORS[given.name] = known._replace(**changed)
