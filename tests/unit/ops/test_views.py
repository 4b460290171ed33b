"""Which ops share elements with their argument: the same ones as NumPy's."""

from __future__ import annotations

import random

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from tests.support.kernels import check_kernel

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)

#: Each shows elements of its argument; stores reach that where NumPy's do.
SHOWS = {
    "T": lambda a: a.T,
    "mT": lambda a: a.mT,
    "transpose": lambda a: np.transpose(a, (2, 0, 1)),
    "permute_dims": lambda a: np.permute_dims(a, (1, 2, 0)),
    "matrix_transpose": np.matrix_transpose,
    "swapaxes": lambda a: a.swapaxes(0, -1),
    "moveaxis": lambda a: np.moveaxis(a, 0, 1),
    "rollaxis": lambda a: np.rollaxis(a, 2),
    "reshape": lambda a: a.reshape(6, -1),
    "reshape of a view": lambda a: a[0].T.reshape(12),
    "reshape of a viewable view": lambda a: a[1].reshape(4, 3),
    "reshape F": lambda a: np.reshape(a, (6, 4), order="F"),
    "reshape F of F": lambda a: np.reshape(a.T, (4, 6), order="F"),
    "reshape A of F": lambda a: np.reshape(a.T, (4, 6), order="A"),
    "reshape copy": lambda a: np.reshape(a, (6, 4), copy=True),
    "reshape same": lambda a: a.reshape(a.shape),
    "ravel": np.ravel,
    "ravel of a view": lambda a: a[:, 1].ravel(),
    "ravel F of F": lambda a: np.ravel(a.T, order="F"),
    "ravel K of F": lambda a: np.ravel(a.T, order="K"),
    "ravel A": lambda a: np.ravel(a.T, order="A"),
    "ravel of what has gaps": lambda a: np.ravel(a[..., 1]),
    "ravel K of what is reversed": lambda a: np.ravel(a[::-1], order="K"),
    "reshape of what has gaps": lambda a: a[..., 1].reshape(-1),
    "flatten": lambda a: a.flatten(),
    "expand_dims": lambda a: np.expand_dims(a, (0, 2)),
    "squeeze": lambda a: np.squeeze(a[:1]),
    "atleast_1d": np.atleast_1d,
    "atleast_2d": lambda a: np.atleast_2d(a[0, 0]),
    "atleast_3d": lambda a: np.atleast_3d(a[0]),
    "flip": lambda a: np.flip(a, (0, 2)),
    "fliplr": np.fliplr,
    "flipud": np.flipud,
    "rot90": np.rot90,
    "rot90 twice": lambda a: np.rot90(a, 2, (1, 2)),
    "rot90 thrice": lambda a: np.rot90(a, 3),
    "rot90 no times": lambda a: np.rot90(a, 0),
    "split": lambda a: np.split(a, [1, 3], axis=2)[1],
    "split, empty part": lambda a: np.split(a, [2, 9])[2],
    "split, all of it": lambda a: np.split(a, 1)[0],
    "array_split": lambda a: np.array_split(a, 2, axis=1)[0],
    "hsplit": lambda a: np.hsplit(a, 3)[2],
    "unstack": lambda a: np.unstack(a, axis=-1)[2],
    "real": np.real,
    "copy": np.copy,
    "astype": lambda a: a.astype(np.float32),
    "astype no copy": lambda a: a.astype(np.float32, copy=False),
    "roll by nothing": lambda a: np.roll(a, 0, axis=0),
    "repeat once": lambda a: np.repeat(a, 1, axis=0),
    "tile once": lambda a: np.tile(a, 1),
    "pad by nothing": lambda a: np.pad(a, 0),
    "concatenate one": lambda a: np.concatenate([a]),
    "delete nothing": lambda a: np.delete(a, [], axis=0),
    "broadcast_arrays of one shape": lambda a: np.broadcast_arrays(a, a)[0],
    "view of views": lambda a: np.flip(a.T[1:], 0).swapaxes(0, 1)[..., 1],
}


def test_a_store_into_a_result_reaches_the_argument_as_in_numpy():
    def kernel(arrays):
        for name, show in SHOWS.items():
            shown = show(arrays[name])
            shown[...] = shown * 2 + 100

    check_kernel(kernel, {name: X.copy() for name in SHOWS})


def test_a_store_into_the_argument_is_seen_in_a_result_as_in_numpy():
    def kernel(arrays):
        made = {name: show(arrays[name]) for name, show in SHOWS.items()}
        for a in arrays.values():
            a[1:, ::2] = -a[1:, ::2]
        return made

    check_kernel(kernel, {name: X.copy() for name in SHOWS})


@pytest.mark.parametrize(
    "show",
    [lambda a: np.broadcast_to(a, (5, 2, 3, 4)), lambda a: np.diagonal(a), np.diag],
    ids=["broadcast_to", "diagonal", "diag"],
)
def test_read_only_views_follow_their_base_and_refuse_stores(show):
    x = X[0] if show is np.diag else X

    def follow(a):
        shown = show(a)
        a += 1
        return shown * 1

    def store(a):
        show(a)[0] = 1

    check_kernel(follow, x)
    with pytest.raises(ValueError, match="read-only"):
        trace_function(store, (x,), {})


@pytest.mark.parametrize(
    "lay",
    [
        lambda a: a,
        lambda a: a.T,
        lambda a: a[..., ::2],
        lambda a: a[0, 0, 0:1].reshape(()),
    ],
    ids=["C", "F", "strided", "0-d"],
)
@pytest.mark.parametrize("part", [lambda a: a.imag, np.imag], ids=["method", "numpy"])
def test_the_imaginary_part_of_reals_is_laid_out_as_they_are_and_read_only(lay, part):
    def kernel(a):
        return part(lay(a)), part(lay(a)).copy() + 1

    def strides(a):
        return part(lay(a)).strides

    def store(a):
        part(lay(a))[...] = 1

    check_kernel(kernel, X)
    traced = []
    trace_function(lambda a: traced.append(strides(a)), (X,), {})
    assert traced == [strides(X)]
    with pytest.raises(ValueError, match="read-only"):
        store(X)
    with pytest.raises(ValueError, match="read-only"):
        trace_function(store, (X,), {})


def test_the_imaginary_part_of_a_scalar_is_one():
    def kernel(a):
        part = a.sum().imag
        part += 1
        return part

    check_kernel(kernel, X)


def test_a_view_of_another_dtype_shares_the_bits():
    def kernel(a):
        bits = a.view(np.uint32)
        bits &= np.uint32(0x7FFFFFFF)
        return bits

    check_kernel(kernel, -X)


def test_moving_nothing_emits_nothing():
    def kernel(a):
        return np.transpose(a.reshape(2, 3, 4), (0, 1, 2)).astype(np.float32).copy() + a

    module = trace_function(kernel, (X,), {}).module
    assert [op.opcode for op in module.operations if not op.is_parameter] == ["add"]


def random_step(rng, shape):
    """A random way to see an array of `shape`, as a function."""
    ndim, size = len(shape), int(np.prod(shape))
    axis = rng.randrange(ndim)
    axes = rng.sample(range(ndim), ndim)
    rows = rng.choice([k for k in range(1, size + 1) if size % k == 0]) if size else 0
    cuts = sorted(rng.sample(range(shape[axis] + 2), 2))
    stop, part, order = rng.randint(0, shape[axis]), rng.randrange(3), rng.choice("CFA")
    along = (slice(None),) * axis
    steps = [
        lambda a: np.transpose(a, axes),
        lambda a: np.flip(a, axis),
        lambda a: np.rollaxis(a, axis),
        lambda a: np.split(a, cuts, axis)[part],
        lambda a: a[(*along, slice(stop))],
        lambda a: a[(*along, slice(None, None, -2))],
        lambda a: np.expand_dims(a, axis),
        lambda a: np.ravel(a, order=order),
    ]
    if size:
        steps.append(lambda a: np.reshape(a, (rows, -1), order=order))
        steps.append(lambda a: a.reshape(-1, rows, order=order))
    return rng.choice(steps)


@pytest.mark.parametrize(
    ("seed", "count"),
    [
        (0, 20),
        (1, 20),
        pytest.param(0, 40, marks=pytest.mark.slow),
        pytest.param(1, 40, marks=pytest.mark.slow),
    ],
)
def test_stores_through_chains_of_views(seed, count):
    rng = random.Random(seed)
    arrays, chains = [], []
    for _ in range(count):
        shape = rng.choice([(2, 3, 4), (4, 6), (3, 2, 1, 2), (12,)])
        steps, seen = [], np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        arrays.append(seen)
        for _ in range(rng.randint(1, 5)):
            steps.append(random_step(rng, seen.shape))
            seen = steps[-1](seen)
        chains.append(steps)

    def kernel(arrays):
        made = []
        for a, steps in zip(arrays, chains):
            views = [a]
            for step in steps:
                views.append(step(views[-1]))
            views[len(views) // 2][...] += 100
            views[-1][...] = views[-1] * 2 + 1
            a[0] *= 3
            made.append(views)
        return made

    check_kernel(kernel, arrays)


def test_a_scalar_has_no_views():
    def kernel(x):
        total = x.sum()
        doubled = np.atleast_1d(total)
        doubled *= 2
        column = total.reshape(1, 1)
        column[0] = 5
        x[0, 0, 0] += total[None][0]
        return total, doubled, column

    check_kernel(kernel, X)


def test_an_array_made_of_a_scalar_has_views():
    def kernel(x):
        made = np.array(x.sum())
        made.reshape(1)[0] = 2
        same = also = np.asarray(x.max())
        also += 1
        return made, same, np.ascontiguousarray(x.min()), np.asfortranarray(x.min())

    check_kernel(kernel, X)


def test_broadcast_arrays_of_scalars_are_arrays_of_their_own():
    def kernel(x):
        total = x.sum()
        one, two = np.broadcast_arrays(total, total)
        one[...] = 1
        two += 2
        array = np.array(x.max())
        (same,) = np.broadcast_arrays(array)
        same[...] = 4
        return total, one, two, array

    check_kernel(kernel, X)


def test_a_0d_array_is_copied_by_flip_and_by_an_empty_index():
    def kernel(x):
        flipped, element = np.flip(x), x[()]
        x[()] += 1.5
        x += 1
        again = element
        again += 0.5
        flipped[...,].reshape(1)[:] = 7
        return flipped, element, again

    check_kernel(kernel, np.array(3, np.uint32))


def test_a_0d_index_array_copies_even_beside_an_ellipsis():
    def kernel(x):
        row, element, view = x[np.array(1), ...], x[np.array(0), 1, 2, ...], x[0, 0]
        row[...], element[...], view[...] = 1, 2, 3
        return row, element

    check_kernel(kernel, X)


def test_conj_is_the_array_and_a_0_d_array_has_views():
    def kernel(x):
        x.conj()[0] = 0
        x.conjugate()[1, 1] = 7
        z = np.ones_like(x[0, 0])
        z.reshape(1)[0] = x[1, 1]
        return z, np.conj(x)

    check_kernel(kernel, np.arange(6, dtype=np.float32).reshape(2, 3))


def test_unstacked_scalars_are_copies():
    def kernel(x, v):
        rows, scalars = np.unstack(x), np.unstack(v)
        rows[1][0] = 9
        v[0] = 5
        return scalars[0]

    check_kernel(kernel, np.zeros((2, 3), np.float32), np.arange(3, dtype=np.float32))


def test_full_like_keyword_takes_the_dtype_of_the_value():
    def kernel(x):
        return np.full(2, 7, like=x), np.full(2, True, like=x), np.full(2, 0.5, like=x)

    check_kernel(kernel, np.zeros(2, np.float32))


def test_flat_takes_values_in_the_order_of_the_elements():
    """Again and again, whatever the layout in memory is."""

    def kernel(x):
        y, z = x * 2, x * 3
        y.flat = 1
        z.T.flat = [1, 2, 3, 4]
        p, q = np.zeros((2, 3), np.float32, order="F"), np.zeros((3, 2), np.float32).T
        p.flat, q.flat = x[1], [1, 2]
        x.flat = q * x
        return y, z, p, q

    check_kernel(kernel, np.arange(6, dtype=np.float32).reshape(2, 3))


#: NumPy's 0-d arrays: += writes into them, whoever else refers to them.
_ARRAYS = {
    "copy": lambda s, z, x: np.copy(s),
    "copy of an array": lambda s, z, x: z.copy(),
    "astype": lambda s, z, x: z.astype(np.int32),
    "where": lambda s, z, x: np.where(s > 0, s, 1),
    "select": lambda s, z, x: np.select([s > 0], [s]),
    "tensordot": lambda s, z, x: np.tensordot(x, x, 2),
    "cov": lambda s, z, x: np.cov(x[0]),
    "full": lambda s, z, x: np.full((), s),
    "piecewise": lambda s, z, x: np.piecewise(z, [z > 0], [1, 2]),
    "resize": lambda s, z, x: np.resize(x, ()),
    "array": lambda s, z, x: np.array(s),
    "element of a view": lambda s, z, x: x[0, 1, ...],
}
#: NumPy's scalars: += makes a new one.
_SCALARS = {
    "copy of a scalar": lambda s, z, x: s.copy(),
    "astype of a scalar": lambda s, z, x: s.astype(np.int32),
    "norm": lambda s, z, x: np.linalg.norm(x),
    "nan_to_num": lambda s, z, x: np.nan_to_num(z),
    "interp": lambda s, z, x: np.interp(z, [0, 1, 9], [0, 4, 8]),
    "corrcoef": lambda s, z, x: np.corrcoef(x[0]),
    "sum": lambda s, z, x: np.sum(x),
    "element": lambda s, z, x: x[0, 1],
    "arithmetic": lambda s, z, x: z * 2,
}


@pytest.mark.parametrize("make", [*_ARRAYS.values(), *_SCALARS.values()])
def test_results_without_axes_are_arrays_or_scalars_as_numpys_are(make):
    def kernel(x, z):
        made = other = make(x[1, 1], z, x)
        other += 1
        return made, other

    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    check_kernel(kernel, x, np.array(2, np.float32))
    made = kernel(x.copy(), np.array(2, np.float32))
    assert (made[0] is made[1]) == (make in _ARRAYS.values())
