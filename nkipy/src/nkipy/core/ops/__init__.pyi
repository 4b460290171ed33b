"""Every op, by name: ``ops.add``, ``ops.concatenate``, … Each is an :class:`Op`.

Made from the records of ops by tools/generate_op_stubs.py; not to be edited.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nkipy.core.ops._registry import Op as Op
from nkipy.core.ops._registry import get_backend as get_backend
from nkipy.core.ops._registry import set_source_location as set_source_location
from nkipy.core.ops.binary import add as add
from nkipy.core.ops.binary import arctan2 as arctan2
from nkipy.core.ops.binary import bitwise_and as bitwise_and
from nkipy.core.ops.binary import bitwise_or as bitwise_or
from nkipy.core.ops.binary import bitwise_xor as bitwise_xor
from nkipy.core.ops.binary import copysign as copysign
from nkipy.core.ops.binary import divide as divide
from nkipy.core.ops.binary import divmod as divmod
from nkipy.core.ops.binary import equal as equal
from nkipy.core.ops.binary import float_power as float_power
from nkipy.core.ops.binary import floor_divide as floor_divide
from nkipy.core.ops.binary import fmax as fmax
from nkipy.core.ops.binary import fmin as fmin
from nkipy.core.ops.binary import fmod as fmod
from nkipy.core.ops.binary import gcd as gcd
from nkipy.core.ops.binary import greater as greater
from nkipy.core.ops.binary import greater_equal as greater_equal
from nkipy.core.ops.binary import heaviside as heaviside
from nkipy.core.ops.binary import hypot as hypot
from nkipy.core.ops.binary import lcm as lcm
from nkipy.core.ops.binary import ldexp as ldexp
from nkipy.core.ops.binary import left_shift as left_shift
from nkipy.core.ops.binary import less as less
from nkipy.core.ops.binary import less_equal as less_equal
from nkipy.core.ops.binary import logaddexp as logaddexp
from nkipy.core.ops.binary import logaddexp2 as logaddexp2
from nkipy.core.ops.binary import logical_and as logical_and
from nkipy.core.ops.binary import logical_or as logical_or
from nkipy.core.ops.binary import logical_xor as logical_xor
from nkipy.core.ops.binary import maximum as maximum
from nkipy.core.ops.binary import minimum as minimum
from nkipy.core.ops.binary import mod as mod
from nkipy.core.ops.binary import multiply as multiply
from nkipy.core.ops.binary import nextafter as nextafter
from nkipy.core.ops.binary import not_equal as not_equal
from nkipy.core.ops.binary import polyval as polyval
from nkipy.core.ops.binary import power as power
from nkipy.core.ops.binary import remainder as remainder
from nkipy.core.ops.binary import right_shift as right_shift
from nkipy.core.ops.binary import subtract as subtract
from nkipy.core.ops.conv import conv1d as conv1d
from nkipy.core.ops.conv import conv2d as conv2d
from nkipy.core.ops.conv import conv3d as conv3d
from nkipy.core.ops.conv import convolve as convolve
from nkipy.core.ops.conv import correlate as correlate
from nkipy.core.ops.creation import constant as constant
from nkipy.core.ops.creation import diag as diag
from nkipy.core.ops.creation import diagflat as diagflat
from nkipy.core.ops.creation import empty_like as empty_like
from nkipy.core.ops.creation import filled as filled
from nkipy.core.ops.creation import full as full
from nkipy.core.ops.creation import full_like as full_like
from nkipy.core.ops.creation import linspace as linspace
from nkipy.core.ops.creation import meshgrid as meshgrid
from nkipy.core.ops.creation import ones_like as ones_like
from nkipy.core.ops.creation import tril as tril
from nkipy.core.ops.creation import triu as triu
from nkipy.core.ops.creation import vander as vander
from nkipy.core.ops.creation import zeros as zeros
from nkipy.core.ops.creation import zeros_like as zeros_like
from nkipy.core.ops.indexing import choose as choose
from nkipy.core.ops.indexing import compress as compress
from nkipy.core.ops.indexing import diag_indices_from as diag_indices_from
from nkipy.core.ops.indexing import diagonal as diagonal
from nkipy.core.ops.indexing import dynamic_update_slice as dynamic_update_slice
from nkipy.core.ops.indexing import extract as extract
from nkipy.core.ops.indexing import fill_diagonal as fill_diagonal
from nkipy.core.ops.indexing import getitem as getitem
from nkipy.core.ops.indexing import ix_ as ix_
from nkipy.core.ops.indexing import piecewise as piecewise
from nkipy.core.ops.indexing import place as place
from nkipy.core.ops.indexing import put as put
from nkipy.core.ops.indexing import put_along_axis as put_along_axis
from nkipy.core.ops.indexing import putmask as putmask
from nkipy.core.ops.indexing import ravel_multi_index as ravel_multi_index
from nkipy.core.ops.indexing import scatter_along_axis as scatter_along_axis
from nkipy.core.ops.indexing import scatter_strided as scatter_strided
from nkipy.core.ops.indexing import select as select
from nkipy.core.ops.indexing import setitem as setitem
from nkipy.core.ops.indexing import static_slice as static_slice
from nkipy.core.ops.indexing import take as take
from nkipy.core.ops.indexing import take_along_axis as take_along_axis
from nkipy.core.ops.indexing import tril_indices_from as tril_indices_from
from nkipy.core.ops.indexing import triu_indices_from as triu_indices_from
from nkipy.core.ops.indexing import unravel_index as unravel_index
from nkipy.core.ops.indexing import where as where
from nkipy.core.ops.linalg import cholesky as cholesky
from nkipy.core.ops.linalg import cross as cross
from nkipy.core.ops.linalg import det as det
from nkipy.core.ops.linalg import dot as dot
from nkipy.core.ops.linalg import einsum as einsum
from nkipy.core.ops.linalg import inner as inner
from nkipy.core.ops.linalg import inv as inv
from nkipy.core.ops.linalg import kron as kron
from nkipy.core.ops.linalg import linalg_cross as linalg_cross
from nkipy.core.ops.linalg import linalg_diagonal as linalg_diagonal
from nkipy.core.ops.linalg import linalg_outer as linalg_outer
from nkipy.core.ops.linalg import linalg_trace as linalg_trace
from nkipy.core.ops.linalg import matmul as matmul
from nkipy.core.ops.linalg import matrix_norm as matrix_norm
from nkipy.core.ops.linalg import matrix_power as matrix_power
from nkipy.core.ops.linalg import matvec as matvec
from nkipy.core.ops.linalg import multi_dot as multi_dot
from nkipy.core.ops.linalg import norm as norm
from nkipy.core.ops.linalg import outer as outer
from nkipy.core.ops.linalg import slogdet as slogdet
from nkipy.core.ops.linalg import solve as solve
from nkipy.core.ops.linalg import tensordot as tensordot
from nkipy.core.ops.linalg import trace as trace
from nkipy.core.ops.linalg import vdot as vdot
from nkipy.core.ops.linalg import vecdot as vecdot
from nkipy.core.ops.linalg import vecmat as vecmat
from nkipy.core.ops.linalg import vector_norm as vector_norm
from nkipy.core.ops.logic import allclose as allclose
from nkipy.core.ops.logic import array_equal as array_equal
from nkipy.core.ops.logic import array_equiv as array_equiv
from nkipy.core.ops.logic import isclose as isclose
from nkipy.core.ops.logic import iscomplexobj as iscomplexobj
from nkipy.core.ops.logic import isin as isin
from nkipy.core.ops.logic import isrealobj as isrealobj
from nkipy.core.ops.nn import erf as erf
from nkipy.core.ops.nn import gelu as gelu
from nkipy.core.ops.nn import layer_norm as layer_norm
from nkipy.core.ops.nn import log_softmax as log_softmax
from nkipy.core.ops.nn import relu as relu
from nkipy.core.ops.nn import rms_norm as rms_norm
from nkipy.core.ops.nn import sigmoid as sigmoid
from nkipy.core.ops.nn import silu as silu
from nkipy.core.ops.nn import softmax as softmax
from nkipy.core.ops.nn import topk as topk
from nkipy.core.ops.reduce import all as all
from nkipy.core.ops.reduce import any as any
from nkipy.core.ops.reduce import argmax as argmax
from nkipy.core.ops.reduce import argmin as argmin
from nkipy.core.ops.reduce import count_nonzero as count_nonzero
from nkipy.core.ops.reduce import cumprod as cumprod
from nkipy.core.ops.reduce import cumsum as cumsum
from nkipy.core.ops.reduce import cumulative_prod as cumulative_prod
from nkipy.core.ops.reduce import cumulative_sum as cumulative_sum
from nkipy.core.ops.reduce import max as max
from nkipy.core.ops.reduce import mean as mean
from nkipy.core.ops.reduce import min as min
from nkipy.core.ops.reduce import nanargmax as nanargmax
from nkipy.core.ops.reduce import nanargmin as nanargmin
from nkipy.core.ops.reduce import nancumprod as nancumprod
from nkipy.core.ops.reduce import nancumsum as nancumsum
from nkipy.core.ops.reduce import nanmax as nanmax
from nkipy.core.ops.reduce import nanmean as nanmean
from nkipy.core.ops.reduce import nanmedian as nanmedian
from nkipy.core.ops.reduce import nanmin as nanmin
from nkipy.core.ops.reduce import nanprod as nanprod
from nkipy.core.ops.reduce import nanstd as nanstd
from nkipy.core.ops.reduce import nansum as nansum
from nkipy.core.ops.reduce import nanvar as nanvar
from nkipy.core.ops.reduce import prod as prod
from nkipy.core.ops.reduce import std as std
from nkipy.core.ops.reduce import sum as sum
from nkipy.core.ops.reduce import trapezoid as trapezoid
from nkipy.core.ops.reduce import var as var
from nkipy.core.ops.sorting import argpartition as argpartition
from nkipy.core.ops.sorting import argsort as argsort
from nkipy.core.ops.sorting import digitize as digitize
from nkipy.core.ops.sorting import interp as interp
from nkipy.core.ops.sorting import lexsort as lexsort
from nkipy.core.ops.sorting import partition as partition
from nkipy.core.ops.sorting import searchsorted as searchsorted
from nkipy.core.ops.sorting import sort as sort
from nkipy.core.ops.statistics import average as average
from nkipy.core.ops.statistics import bincount as bincount
from nkipy.core.ops.statistics import corrcoef as corrcoef
from nkipy.core.ops.statistics import cov as cov
from nkipy.core.ops.statistics import median as median
from nkipy.core.ops.statistics import percentile as percentile
from nkipy.core.ops.statistics import ptp as ptp
from nkipy.core.ops.statistics import quantile as quantile
from nkipy.core.ops.transform import append as append
from nkipy.core.ops.transform import array_split as array_split
from nkipy.core.ops.transform import astype as astype
from nkipy.core.ops.transform import atleast_1d as atleast_1d
from nkipy.core.ops.transform import atleast_2d as atleast_2d
from nkipy.core.ops.transform import atleast_3d as atleast_3d
from nkipy.core.ops.transform import block as block
from nkipy.core.ops.transform import broadcast_arrays as broadcast_arrays
from nkipy.core.ops.transform import broadcast_to as broadcast_to
from nkipy.core.ops.transform import column_stack as column_stack
from nkipy.core.ops.transform import concatenate as concatenate
from nkipy.core.ops.transform import copy as copy
from nkipy.core.ops.transform import copyto as copyto
from nkipy.core.ops.transform import delete as delete
from nkipy.core.ops.transform import diff as diff
from nkipy.core.ops.transform import dsplit as dsplit
from nkipy.core.ops.transform import dstack as dstack
from nkipy.core.ops.transform import ediff1d as ediff1d
from nkipy.core.ops.transform import expand_dims as expand_dims
from nkipy.core.ops.transform import flatten as flatten
from nkipy.core.ops.transform import flip as flip
from nkipy.core.ops.transform import fliplr as fliplr
from nkipy.core.ops.transform import flipud as flipud
from nkipy.core.ops.transform import gradient as gradient
from nkipy.core.ops.transform import hsplit as hsplit
from nkipy.core.ops.transform import hstack as hstack
from nkipy.core.ops.transform import insert as insert
from nkipy.core.ops.transform import matrix_transpose as matrix_transpose
from nkipy.core.ops.transform import moveaxis as moveaxis
from nkipy.core.ops.transform import ndim as ndim
from nkipy.core.ops.transform import pad as pad
from nkipy.core.ops.transform import ravel as ravel
from nkipy.core.ops.transform import repeat as repeat
from nkipy.core.ops.transform import reshape as reshape
from nkipy.core.ops.transform import resize as resize
from nkipy.core.ops.transform import roll as roll
from nkipy.core.ops.transform import rollaxis as rollaxis
from nkipy.core.ops.transform import rot90 as rot90
from nkipy.core.ops.transform import shape as shape
from nkipy.core.ops.transform import size as size
from nkipy.core.ops.transform import split as split
from nkipy.core.ops.transform import squeeze as squeeze
from nkipy.core.ops.transform import stack as stack
from nkipy.core.ops.transform import swapaxes as swapaxes
from nkipy.core.ops.transform import tile as tile
from nkipy.core.ops.transform import transpose as transpose
from nkipy.core.ops.transform import unstack as unstack
from nkipy.core.ops.transform import view as view
from nkipy.core.ops.transform import vsplit as vsplit
from nkipy.core.ops.transform import vstack as vstack
from nkipy.core.ops.unary import abs as abs
from nkipy.core.ops.unary import absolute as absolute
from nkipy.core.ops.unary import arccos as arccos
from nkipy.core.ops.unary import arccosh as arccosh
from nkipy.core.ops.unary import arcsin as arcsin
from nkipy.core.ops.unary import arcsinh as arcsinh
from nkipy.core.ops.unary import arctan as arctan
from nkipy.core.ops.unary import arctanh as arctanh
from nkipy.core.ops.unary import bitwise_count as bitwise_count
from nkipy.core.ops.unary import bitwise_not as bitwise_not
from nkipy.core.ops.unary import cbrt as cbrt
from nkipy.core.ops.unary import ceil as ceil
from nkipy.core.ops.unary import clip as clip
from nkipy.core.ops.unary import conj as conj
from nkipy.core.ops.unary import conjugate as conjugate
from nkipy.core.ops.unary import cos as cos
from nkipy.core.ops.unary import cosh as cosh
from nkipy.core.ops.unary import deg2rad as deg2rad
from nkipy.core.ops.unary import degrees as degrees
from nkipy.core.ops.unary import exp as exp
from nkipy.core.ops.unary import exp2 as exp2
from nkipy.core.ops.unary import expm1 as expm1
from nkipy.core.ops.unary import fabs as fabs
from nkipy.core.ops.unary import fix as fix
from nkipy.core.ops.unary import floor as floor
from nkipy.core.ops.unary import frexp as frexp
from nkipy.core.ops.unary import imag as imag
from nkipy.core.ops.unary import invert as invert
from nkipy.core.ops.unary import iscomplex as iscomplex
from nkipy.core.ops.unary import isfinite as isfinite
from nkipy.core.ops.unary import isinf as isinf
from nkipy.core.ops.unary import isnan as isnan
from nkipy.core.ops.unary import isneginf as isneginf
from nkipy.core.ops.unary import isposinf as isposinf
from nkipy.core.ops.unary import isreal as isreal
from nkipy.core.ops.unary import log as log
from nkipy.core.ops.unary import log1p as log1p
from nkipy.core.ops.unary import log2 as log2
from nkipy.core.ops.unary import log10 as log10
from nkipy.core.ops.unary import logical_not as logical_not
from nkipy.core.ops.unary import modf as modf
from nkipy.core.ops.unary import nan_to_num as nan_to_num
from nkipy.core.ops.unary import negative as negative
from nkipy.core.ops.unary import packbits as packbits
from nkipy.core.ops.unary import positive as positive
from nkipy.core.ops.unary import rad2deg as rad2deg
from nkipy.core.ops.unary import radians as radians
from nkipy.core.ops.unary import real as real
from nkipy.core.ops.unary import real_if_close as real_if_close
from nkipy.core.ops.unary import reciprocal as reciprocal
from nkipy.core.ops.unary import rint as rint
from nkipy.core.ops.unary import round as round
from nkipy.core.ops.unary import round_ as round_
from nkipy.core.ops.unary import sign as sign
from nkipy.core.ops.unary import signbit as signbit
from nkipy.core.ops.unary import sin as sin
from nkipy.core.ops.unary import sinc as sinc
from nkipy.core.ops.unary import sinh as sinh
from nkipy.core.ops.unary import spacing as spacing
from nkipy.core.ops.unary import sqrt as sqrt
from nkipy.core.ops.unary import square as square
from nkipy.core.ops.unary import tan as tan
from nkipy.core.ops.unary import tanh as tanh
from nkipy.core.ops.unary import trunc as trunc
from nkipy.core.ops.unary import unpackbits as unpackbits

def all_gather(
    data: ArrayLike,
    all_gather_dim: int,
    replica_groups: Sequence[Sequence[int]],
) -> NDArray[Any]:
    """The data of all ranks of a group, one after the other along a dimension.

    Args:
        data: an array of the same shape and dtype on every rank.
        all_gather_dim: the dimension; its size is multiplied by that of a group.
        replica_groups: lists of ranks, all of one length. Each exchanges among itself.

    Raises:
        AxisError: there is no such dimension.
        TypeError, ValueError: `replica_groups` are not disjoint groups of one size.
    """

def all_reduce(
    data: ArrayLike,
    replica_groups: Sequence[Sequence[int]],
    reduce_op: np.ufunc = ...,
) -> NDArray[Any]:
    """The data of all ranks of a group, combined element by element.

    Args:
        data: an array of the same shape and dtype on every rank.
        replica_groups: lists of ranks, all of one length.
        reduce_op: ``np.add``, ``np.multiply``, ``np.maximum`` or ``np.minimum``. On
            bool, adding is "or" and multiplying is "and", as in NumPy.

    Raises:
        TypeError, ValueError: `replica_groups` are not disjoint groups of one size.
        ValueError: `reduce_op` is something else.
    """

def all_to_all(
    data: ArrayLike,
    split_dimension: int,
    concat_dimension: int,
    replica_groups: Sequence[Sequence[int]],
) -> NDArray[Any]:
    """Send a part of the data to each rank of the group; join the parts received.

    Args:
        data: an array of the same shape and dtype on every rank.
        split_dimension: the dimension that is divided; part `i` goes to rank `i` of the
            group.
        concat_dimension: the dimension along which the parts received are joined, in
            the order of the ranks in the group.
        replica_groups: lists of ranks, all of one length.

    Returns:
        `split_dimension` is divided by the size of a group, `concat_dimension`
        multiplied by it.

    Raises:
        AxisError: there is no such dimension.
        ValueError: it does not divide by the size of a group.
        TypeError, ValueError: `replica_groups` are not disjoint groups of one size.
    """

def broadcast(
    data: ArrayLike,
    replica_groups: Sequence[Sequence[int]],
    root: int = 0,
) -> NDArray[Any]:
    """The data of one rank of each group, on all ranks of the group.

    Args:
        data: an array of the same shape and dtype on every rank.
        replica_groups: lists of ranks, all of one length.
        root: the place in each group of the rank whose data it is.

    Raises:
        TypeError, ValueError: `replica_groups` are not disjoint groups of one size, or
            `root` is no place in one.
    """

def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    """Whether `casting` allows the conversion."""

def collective_permute(
    data: ArrayLike,
    source_target_pairs: Sequence[Sequence[int]],
) -> NDArray[Any]:
    """Send data from rank to rank. A rank that is no target receives zeros.

    Args:
        data: an array of the same shape and dtype on every rank.
        source_target_pairs: (source, target) ranks. No rank is a source twice, nor a
            target twice.

    Raises:
        TypeError, ValueError: `source_target_pairs` are not such pairs.
    """

def common_type(*arrays: Any) -> type:
    """The float type that all arrays fit, narrowed to 32 bits."""

def min_scalar_type(a: Any, /) -> np.dtype:
    """The dtype of `a`: of a scalar NumPy looks at the value, which is not known."""

def rank() -> NDArray[Any]:
    """The number of the rank that runs the kernel, as a 0-d uint32 array."""

def reduce_scatter(
    data: ArrayLike,
    reduce_scatter_dim: int,
    replica_groups: Sequence[Sequence[int]],
    reduce_op: np.ufunc = ...,
) -> NDArray[Any]:
    """The data of a group's ranks combined, of which each rank keeps its own part.

    Args:
        data: an array of the same shape and dtype on every rank.
        reduce_scatter_dim: the dimension that is divided among the ranks of a group, in
            their order in it.
        replica_groups, reduce_op: as for ``all_reduce``.

    Raises:
        AxisError: there is no such dimension.
        ValueError: it does not divide by the size of a group, or as ``all_reduce``.
    """

def result_type(*arrays_and_dtypes: Any) -> np.dtype:
    """The dtype that the arguments promote to, narrowed to 32 bits."""
