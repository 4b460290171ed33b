"""Order statistics, averages and correlation.

Made from the records of ops by tools/generate_op_stubs.py; not to be edited.
"""

from typing import Any

from numpy.typing import NDArray

def average(
    a: Any,
    axis: Any = None,
    weights: Any = None,
    returned: bool = False,
    *,
    keepdims: Any = False,
) -> Any:
    """``numpy.average``: float32 for integers.

    Raises:
        ZeroDivisionError: weights that are known while tracing sum to zero.
    """

def bincount(x: Any, /, weights: Any = None, minlength: Any = 0) -> NDArray[Any]:
    """The sums of the weights of each number; float32.

    Raises:
        NotImplementedError: the numbers are traced.
    """

def corrcoef(
    x: Any,
    y: Any = None,
    rowvar: bool = True,
    *,
    dtype: Any = None,
) -> NDArray[Any]:
    """``numpy.corrcoef``, in float32."""

def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: Any = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> NDArray[Any]:
    """``numpy.cov``, in float32."""

def median(
    a: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    keepdims: Any = False,
) -> NDArray[Any]:
    """``numpy.median``: sorts; float32 for integers; NaN if any element is."""

def percentile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: Any = False,
    *,
    weights: Any = None,
) -> NDArray[Any]:
    """``numpy.percentile`` by every method; NaN if any element is."""

def ptp(
    a: Any,
    axis: Any = None,
    out: Any = None,
    keepdims: Any = False,
) -> NDArray[Any]:
    """``numpy.ptp``: the largest less the smallest element."""

def quantile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: Any = False,
    *,
    weights: Any = None,
) -> NDArray[Any]:
    """``numpy.quantile`` by every method; NaN if any element is."""
