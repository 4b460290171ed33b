"""Linear algebra: products, norms, and equations.

Made from the records of ops by tools/generate_op_stubs.py; not to be edited.
"""

from typing import Any

from numpy.typing import NDArray

def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """As ``numpy.linalg.cholesky``."""

def cross(
    a: Any,
    b: Any,
    axisa: int = -1,
    axisb: int = -1,
    axisc: int = -1,
    axis: Any = None,
) -> NDArray[Any]:
    """As ``numpy.cross``."""

def det(a: Any) -> Any:
    """As ``numpy.linalg.det``."""

def dot(a: Any, b: Any, out: Any = None) -> NDArray[Any]:
    """As ``numpy.dot``."""

def einsum(
    *operands: Any,
    out: Any = None,
    optimize: Any = False,
    dtype: Any = None,
    order: str = "K",
    casting: str = "safe",
) -> NDArray[Any]:
    """As ``numpy.einsum``."""

def inner(a: Any, b: Any, /) -> NDArray[Any]:
    """As ``numpy.inner``."""

def inv(a: Any) -> Any:
    """As ``numpy.linalg.inv``."""

def kron(a: Any, b: Any) -> NDArray[Any]:
    """As ``numpy.kron``."""

def linalg_cross(x1: Any, x2: Any, /, *, axis: int = -1) -> NDArray[Any]:
    """As ``numpy.linalg.cross``."""

def linalg_diagonal(x: Any, /, *, offset: int = 0) -> NDArray[Any]:
    """As ``numpy.linalg.diagonal``."""

def linalg_outer(x1: Any, x2: Any, /) -> NDArray[Any]:
    """As ``numpy.linalg.outer``."""

def linalg_trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> NDArray[Any]:
    """As ``numpy.linalg.trace``."""

def matmul(
    x1: Any,
    x2: Any,
    /,
    out: Any = None,
    *,
    casting: str = "same_kind",
    order: str = "K",
    dtype: Any = None,
    subok: bool = True,
    axes: Any = None,
    axis: Any = None,
    keepdims: bool = False,
) -> NDArray[Any]:
    """``numpy.matmul``: sums of products."""

def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> NDArray[Any]:
    """As ``numpy.linalg.matrix_norm``."""

def matrix_power(a: Any, n: Any) -> Any:
    """As ``numpy.linalg.matrix_power``."""

def matvec(
    x1: Any,
    x2: Any,
    /,
    out: Any = None,
    *,
    casting: str = "same_kind",
    order: str = "K",
    dtype: Any = None,
    subok: bool = True,
    axes: Any = None,
    axis: Any = None,
    keepdims: bool = False,
) -> NDArray[Any]:
    """``numpy.matvec``: sums of products."""

def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    """As ``numpy.linalg.multi_dot``."""

def norm(
    x: Any,
    ord: Any = None,
    axis: Any = None,
    keepdims: bool = False,
) -> NDArray[Any]:
    """As ``numpy.linalg.norm``."""

def outer(a: Any, b: Any, out: Any = None) -> NDArray[Any]:
    """As ``numpy.outer``."""

def slogdet(a: Any) -> Any:
    """As ``numpy.linalg.slogdet``."""

def solve(a: Any, b: Any) -> Any:
    """As ``numpy.linalg.solve``."""

def tensordot(a: Any, b: Any, axes: Any = 2) -> NDArray[Any]:
    """As ``numpy.tensordot``."""

def trace(
    a: Any,
    offset: int = 0,
    axis1: int = 0,
    axis2: int = 1,
    dtype: Any = None,
    out: Any = None,
) -> Any:
    """The sum along the diagonal of two axes, in the dtype that np.sum has."""

def vdot(a: Any, b: Any, /) -> NDArray[Any]:
    """As ``numpy.vdot``."""

def vecdot(
    x1: Any,
    x2: Any,
    /,
    out: Any = None,
    *,
    casting: str = "same_kind",
    order: str = "K",
    dtype: Any = None,
    subok: bool = True,
    axes: Any = None,
    axis: Any = None,
    keepdims: bool = False,
) -> NDArray[Any]:
    """``numpy.vecdot``: sums of products."""

def vecmat(
    x1: Any,
    x2: Any,
    /,
    out: Any = None,
    *,
    casting: str = "same_kind",
    order: str = "K",
    dtype: Any = None,
    subok: bool = True,
    axes: Any = None,
    axis: Any = None,
    keepdims: bool = False,
) -> NDArray[Any]:
    """``numpy.vecmat``: sums of products."""

def vector_norm(
    x: Any,
    /,
    *,
    axis: Any = None,
    keepdims: bool = False,
    ord: Any = 2,
) -> NDArray[Any]:
    """As ``numpy.linalg.vector_norm``."""
