"""The functions of NumPy's reference, by its own chapters: for the coverage table.

Left out are chapters that have nothing to do with kernels: strings, dates, files, sets
of options, tests.
"""

from __future__ import annotations

_PAGES = "https://numpy.org/doc/stable/reference"

#: The title of a chapter, the name of its page, and the functions that it lists.
NUMPY_CHAPTERS: tuple[tuple[str, str, str], ...] = (
    (
        "Array creation",
        "routines.array-creation",
        """empty empty_like eye identity ones ones_like zeros zeros_like full full_like
        array asarray asanyarray ascontiguousarray copy fromfunction arange linspace
        logspace geomspace meshgrid diag diagflat tri tril triu vander""",
    ),
    (
        "Array manipulation",
        "routines.array-manipulation",
        """copyto ndim shape size reshape ravel moveaxis rollaxis swapaxes transpose
        permute_dims matrix_transpose atleast_1d atleast_2d atleast_3d broadcast_to
        broadcast_arrays expand_dims squeeze concatenate concat stack block vstack
        hstack dstack column_stack split array_split dsplit hsplit vsplit unstack tile
        repeat delete insert append resize trim_zeros pad flip fliplr flipud roll
        rot90 astype""",
    ),
    (
        "Bit-wise operations",
        "routines.bitwise",
        """bitwise_and bitwise_or bitwise_xor invert bitwise_invert bitwise_not
        left_shift
        bitwise_left_shift right_shift bitwise_right_shift packbits unpackbits
        bitwise_count""",
    ),
    (
        "Data types",
        "routines.dtype",
        "can_cast promote_types min_scalar_type result_type common_type",
    ),
    (
        "Functional programming",
        "routines.functional",
        "apply_along_axis apply_over_axes vectorize frompyfunc piecewise",
    ),
    (
        "Indexing",
        "routines.indexing",
        """nonzero where indices ix_ ravel_multi_index unravel_index diag_indices
        diag_indices_from mask_indices tril_indices tril_indices_from triu_indices
        triu_indices_from take take_along_axis choose compress diagonal select place
        put put_along_axis putmask fill_diagonal""",
    ),
    (
        "Linear algebra",
        "routines.linalg",
        """dot linalg.multi_dot vdot vecdot linalg.vecdot inner outer linalg.outer
        matmul linalg.matmul matvec vecmat tensordot linalg.tensordot einsum
        einsum_path linalg.matrix_power kron linalg.cross linalg.cholesky linalg.qr
        linalg.svd linalg.svdvals linalg.eig linalg.eigh linalg.eigvals linalg.eigvalsh
        linalg.norm linalg.matrix_norm linalg.vector_norm linalg.cond linalg.det
        linalg.matrix_rank linalg.slogdet trace linalg.trace linalg.solve
        linalg.tensorsolve linalg.lstsq linalg.inv linalg.pinv linalg.tensorinv
        linalg.diagonal linalg.matrix_transpose""",
    ),
    (
        "Logic",
        "routines.logic",
        """all any isfinite isinf isnan isneginf isposinf iscomplex iscomplexobj isreal
        isrealobj logical_and logical_or logical_not logical_xor allclose isclose
        array_equal array_equiv greater greater_equal less less_equal equal
        not_equal""",
    ),
    (
        "Mathematical functions",
        "routines.math",
        """sin cos tan arcsin asin arccos acos arctan atan hypot arctan2 atan2 degrees
        radians unwrap deg2rad rad2deg sinh cosh tanh arcsinh asinh arccosh acosh
        arctanh atanh round around rint fix floor ceil trunc prod sum nanprod nansum
        cumulative_sum cumulative_prod cumprod cumsum nancumprod nancumsum diff ediff1d
        gradient cross trapezoid exp expm1 exp2 log log10 log2 log1p logaddexp
        logaddexp2 i0 sinc signbit copysign frexp ldexp nextafter spacing lcm gcd add
        reciprocal positive negative multiply divide true_divide power pow subtract
        floor_divide
        float_power fmod mod modf remainder divmod angle real imag conj conjugate
        maximum
        max amax fmax nanmax minimum min amin fmin nanmin convolve clip sqrt cbrt
        square absolute abs fabs sign heaviside nan_to_num real_if_close interp""",
    ),
    (
        "Polynomials",
        "routines.polynomials.poly1d",
        """poly roots polyfit polyval polyder polyint polyadd polysub polymul
        polydiv""",
    ),
    (
        "Sets",
        "routines.set",
        """unique unique_all unique_counts unique_inverse unique_values isin intersect1d
        setdiff1d setxor1d union1d""",
    ),
    (
        "Sorting, searching and counting",
        "routines.sort",
        """sort lexsort argsort sort_complex partition argpartition argmax nanargmax
        argmin nanargmin argwhere flatnonzero searchsorted extract count_nonzero""",
    ),
    (
        "Statistics",
        "routines.statistics",
        """ptp percentile nanpercentile quantile nanquantile median average mean std var
        nanmedian nanmean nanstd nanvar corrcoef correlate cov histogram histogram2d
        histogramdd bincount histogram_bin_edges digitize""",
    ),
)


def numpy_page(name: str) -> str:
    """Address of the page of NumPy's reference on a function, ``linalg.norm`` say."""
    return f"{_PAGES}/generated/numpy.{name}.html"


def chapter_page(page: str) -> str:
    """Address of a chapter of NumPy's reference."""
    return f"{_PAGES}/{page}.html"
