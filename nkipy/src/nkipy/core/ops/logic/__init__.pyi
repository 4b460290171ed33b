"""Logic functions: comparison of whole arrays, membership, kinds of arrays.

Made from the records of ops by tools/generate_op_stubs.py; not to be edited.
"""

from typing import Any

def allclose(
    a: Any,
    b: Any,
    rtol: Any = 1e-05,
    atol: Any = 1e-08,
    equal_nan: bool = False,
) -> Any:
    """Whether :func:`isclose` holds everywhere."""

def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    """Whether shapes and elements are equal."""

def array_equiv(a1: Any, a2: Any) -> Any:
    """Whether the elements are equal after broadcasting."""

def isclose(
    a: Any,
    b: Any,
    rtol: Any = 1e-05,
    atol: Any = 1e-08,
    equal_nan: bool = False,
) -> Any:
    """Where ``|a - b| <= atol + rtol * |b|``; infinities are close to themselves."""

def iscomplexobj(x: Any) -> bool:
    """False: no traced array is complex."""

def isin(
    element: Any,
    test_elements: Any,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    kind: str | None = None,
) -> Any:
    """``numpy.isin``; `assume_unique` and `kind` only speed NumPy's up."""

def isrealobj(x: Any) -> bool:
    """True: no traced array is complex."""
