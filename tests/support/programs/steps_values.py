"""Steps that compute a value of others: functions, operators, views, indices."""

from __future__ import annotations

import numpy as np

from tests.support.programs.writer import (
    DTYPES,
    LOW_DTYPES,
    Step,
    Unfit,
    Writer,
    is_finite,
    is_writable,
)

_EXACT = (
    "negative abs sign positive square floor ceil trunc rint isnan isinf isfinite "
    "logical_not signbit conj real fix nan_to_num"
).split()
#: Rounded; what is computed of their results is not compared with NumPy's any more.
_ROUNDED = "exp sin sqrt tanh log1p reciprocal arctan cbrt exp2 log2 sinc".split()
_BINARY = (
    "add subtract multiply maximum minimum fmax fmin less less_equal greater equal "
    "not_equal logical_and logical_or logical_xor floor_divide remainder fmod divide "
    "copysign hypot arctan2 heaviside logaddexp float_power"
).split()
_OF_INTEGERS = (
    "bitwise_and bitwise_or bitwise_xor left_shift right_shift gcd lcm remainder "
    "floor_divide"
).split()
_OPERATORS = "+ - * / // % < <= == != > >= & | ^".split()


# -- element by element ----------------------------------------------------------------
def _unary(w: Writer) -> str:
    name = w.rng.choice(_EXACT * 2 + _ROUNDED)
    return f"{w.new()} = np.{name}({w.pick()})"


def _sign(w: Writer) -> str:
    return f"{w.new()} = {w.choose('-', '+', 'abs', '~')}({w.pick()})"


def _clip(w: Writer) -> str:
    x = w.pick()
    bounds = w.choose("-2, 2", "None, 1", "0, None", "N, 3", "-1.5, 2.0")
    return f"{w.new()} = {w.choose(f'np.clip({x}, {bounds})', f'{x}.clip({bounds})')}"


def _cast(w: Writer) -> str:
    dtype = w.dtype()
    x = w.pick(lambda x: dtype in ("f32", "bool") or _fits_int8(x))
    # What has 64 bits in NumPy is of such a dtype already in a kernel, and not copied.
    wide = w.of(x).dtype.itemsize == 8
    copy = "" if wide else w.maybe(0.3, ", copy=False")
    if dtype in LOW_DTYPES.keys() - DTYPES.keys() and type(w.values[x]) is np.ndarray:
        # Its reference is NumPy's own, and would go on by NumPy's rules.
        return f"{w.new()} = np.array({x}, {dtype})"
    return f"{w.new()} = {x}.astype({dtype}{copy})"


def _fits_int8(x: np.ndarray) -> bool:
    wide = x.astype(np.float64)
    return bool(np.all((wide >= 0) & (wide < 100)))


UNARY: list[Step] = [_unary, _unary, _unary, _sign, _clip, _cast, _cast]


def _binary(w: Writer) -> str:
    x = w.pick()
    pair = [x, w.beside(x)]
    w.rng.shuffle(pair)
    return f"{w.new()} = np.{w.rng.choice(_BINARY)}({', '.join(pair)})"


def _of_integers(w: Writer) -> str:
    x = w.integers()
    return f"{w.new()} = np.{w.rng.choice(_OF_INTEGERS)}({x}, {w.beside(x)})"


def _operator(w: Writer) -> str:
    x = w.pick()
    y = w.choose(w.beside(x), w.scalar())
    pair = [x, f"({y})"]
    w.rng.shuffle(pair)
    return f"{w.new()} = {w.rng.choice(_OPERATORS).join(pair)}"


def _power(w: Writer) -> str:
    x = w.pick()
    exponent = w.choose("2", "3", "0", "0.5", "-1", "np.array(2)", "f32(2)")
    return f"{w.new()} = {w.choose(f'{x} ** {exponent}', f'np.power({x}, {exponent})')}"


def _where(w: Writer) -> str:
    x = w.pick()
    condition = f"{x} {w.choose('>', '<', '==')} {w.beside(x)}"
    return f"{w.new()} = np.where({condition}, {w.beside(x)}, {w.beside(x)})"


def _divmod(w: Writer) -> str:
    x = w.pick()
    function = w.choose("divmod", "np.divmod")
    return f"{w.new()}, {w.new()} = {function}({x}, {w.beside(x)})"


def _parts(w: Writer) -> str:
    return f"{w.new()}, {w.new()} = np.{w.choose('modf', 'frexp')}({w.floats()})"


BINARY: list[Step] = [
    *([_binary] * 4),
    *([_operator] * 4),
    *(_of_integers, _power, _where, _where, _divmod, _parts),
]


# -- reductions ------------------------------------------------------------------------
_REDUCTIONS = (
    "sum prod max min any all mean std var argmax argmin cumsum cumprod ptp median "
    "count_nonzero nansum nanmax nanmean nanargmin amax"
).split()
_METHODS = "sum prod max min any all mean std argmax argmin cumsum cumprod".split()


def _axes(w: Writer, x: str) -> str:
    if w.rng.random() < 0.3 or not w.of(x).ndim:
        return ""
    if w.of(x).ndim > 1 and w.rng.random() < 0.2:
        return "axis=(0, 1)"
    return f"axis={w.axis(x)}"


def _reduction(w: Writer) -> str:
    x = w.pick()
    options = [_axes(w, x), w.maybe(0.2, "keepdims=True"), w.maybe(0.1, "dtype=f32")]
    options += [w.maybe(0.1, "initial=2"), w.maybe(0.1, f"where={x} > 0")]
    tail = ", ".join(filter(None, options))
    if w.rng.random() < 0.3:
        return f"{w.new()} = {x}.{w.rng.choice(_METHODS)}({tail})"
    return f"{w.new()} = np.{w.rng.choice(_REDUCTIONS)}({x}, {tail})"


def _with_out(w: Writer) -> str:
    x = w.array(2)
    kind, rest = w.of(x).dtype.kind, w.of(x).shape[1:]
    out = w.pick(lambda y: is_writable(y) and y.shape == rest and y.dtype.kind == kind)
    name = w.choose("sum", "max", "min", "prod", "any")
    return f"{w.new()} = np.{name}({x}, axis=0, out={out})"


def _differences(w: Writer) -> str:
    x = w.array()
    name = w.choose("diff", "ediff1d", "trapezoid", "gradient")
    return f"{w.new()} = np.{name}({x})"


REDUCED: list[Step] = [*([_reduction] * 6), _with_out, _differences]


# -- methods of ufuncs, out= and where= ------------------------------------------------
_FOLDS = "add multiply maximum minimum logical_and logical_or subtract fmax".split()


def _reduce(w: Writer) -> str:
    x = w.array()
    options = [f"axis={w.choose(w.axis(x), None)}", w.maybe(0.2, "keepdims=True")]
    options += [w.maybe(0.2, "initial=1"), w.maybe(0.15, f"where={x} > 0, initial=0")]
    if options[2] and options[3]:
        options[2] = ""
    tail = ", ".join(filter(None, options))
    return f"{w.new()} = np.{w.rng.choice(_FOLDS)}.reduce({x}, {tail})"


def _accumulate(w: Writer) -> str:
    x = w.array()
    name = w.rng.choice(_FOLDS)
    return f"{w.new()} = np.{name}.accumulate({x}, axis={w.axis(x)})"


def _outer(w: Writer) -> str:
    x, y = w.pick(), w.pick()
    return f"{w.new()} = np.{w.rng.choice(_FOLDS)}.outer({x}, {y})"


def _reduceat(w: Writer) -> str:
    x = w.array()
    axis = w.axis(x)
    last = w.of(x).shape[axis] - 1
    places = [w.rng.randint(0, last) for _ in range(w.rng.randint(1, 4))]
    name = w.rng.choice(_FOLDS)
    return f"{w.new()} = np.{name}.reduceat({x}, {places}, axis={axis})"


def _at(w: Writer) -> str:
    x = w.pick(lambda x: x.ndim and x.size and is_writable(x))
    n = w.of(x).shape[0]
    places = [w.rng.randrange(-n, n) for _ in range(3)]
    name = w.choose("add", "multiply", "maximum", "subtract")
    row = w.choose("2", "1", f"{x}[0]", f"{x}[-1] + 1")
    return f"np.{name}.at({x}, {places}, {row})"


def _out(w: Writer) -> str:
    x = w.writable()
    name = w.choose("add", "multiply", "maximum", "subtract", "divide", "less")
    y = w.beside(x)
    # NumPy ignores the mask where it casts an operand that shares memory with `out`.
    same = y not in w.values or w.of(y).dtype == w.of(x).dtype
    where = w.maybe(0.4, f", where={x} > 0") if same and name != "less" else ""
    casting = w.maybe(0.3, ", casting='unsafe'") if _fits_int8(w.of(x)) else ""
    return f"{w.new()} = np.{name}({x}, {y}, out={w.choose(x, y)}{where}{casting})"


def _with_dtype(w: Writer) -> str:
    x = w.pick()
    name = w.choose("add", "multiply", "maximum")
    return f"{w.new()} = np.{name}({x}, {w.beside(x)}, dtype={w.choose('f32', 'i32')})"


METHODS: list[Step] = [
    *(_reduce, _reduce, _accumulate, _accumulate, _outer, _reduceat, _at, _at),
    *(_out, _out, _with_dtype),
]


# -- moving elements -------------------------------------------------------------------
def _permuted(w: Writer) -> str:
    x = w.array(2)
    axes = list(range(w.of(x).ndim))
    w.rng.shuffle(axes)
    form = w.choose("np.transpose({}, {})", "{}.transpose({})")
    return f"{w.new()} = {form.format(x, tuple(axes))}"


def _moved(w: Writer) -> str:
    x = w.array(2)
    first, second = w.axis(x), w.axis(x)
    name = w.choose("swapaxes", "moveaxis")
    return f"{w.new()} = np.{name}({x}, {first}, {second})"


def _attribute(w: Writer) -> str:
    return f"{w.new()} = {w.pick()}.{w.choose('T', 'T', 'real', 'mT')}"


def _reshaped(w: Writer) -> str:
    x = w.pick()
    size = w.of(x).size
    options = ["-1", "(-1, 1)", "(1, -1)"]
    options += [f"({n}, {size // n})" for n in (2, 3, 4) if size and size % n == 0]
    order = w.maybe(0.25, f", order='{w.choose('C', 'F', 'A')}'")
    form = w.choose("np.reshape({}, {}{})", "{}.reshape({}{})")
    return f"{w.new()} = {form.format(x, w.rng.choice(options), order)}"


def _raveled(w: Writer) -> str:
    x = w.pick()
    order = w.maybe(0.3, f"'{w.choose('C', 'F', 'K', 'A')}'")
    if w.rng.random() < 0.3:
        return f"{w.new()} = np.ravel({', '.join(filter(None, [x, order]))})"
    return f"{w.new()} = {x}.{w.choose('ravel', 'flatten')}({order})"


_RESTS = [
    *("np.squeeze({0})", "np.expand_dims({0}, -1)", "np.flip({0})", "np.copy({0})"),
    *("np.atleast_2d({0})", "np.atleast_1d({0})", "{0}[None]", "{0}[..., None]"),
    *("np.roll({0}, 1)", "np.tile({0}, 2)", "np.repeat({0}, 2)", "np.pad({0}, 1)"),
    *("np.pad({0}, 1, mode='edge')", "np.pad({0}, 1, constant_values=2)"),
    *("np.diag({0})", "np.triu({0})", "np.tril({0}, -1)", "np.diagonal({0})"),
    *("np.rot90({0})", "np.fliplr({0})", "np.asarray({0})", "np.array({0})"),
    *("np.array({0}, copy=False)", "np.asfortranarray({0})", "{0}.copy()"),
    *("np.ascontiguousarray({0})", "{0}.view()", "{0}.conj()"),
    *("np.array([{0}, {0}])", "list({0})[-1]", "np.resize({0}, (2, 2))"),
    *("np.delete({0}, 0, 0)", "np.insert({0}, 1, 2)", "np.append({0}, 3)"),
    *("np.vander({0}, 3)", "np.array({0}, order='F')", "{0}.copy(order='F')"),
    *("np.array(list({0}))", "{0}[()]", "np.asanyarray({0})"),
    *("np.roll({0}, 1, axis=-1)", "np.repeat({0}, [1, 0, 2], axis=-1)"),
]


def _rest(w: Writer) -> str:
    return f"{w.new()} = {w.rng.choice(_RESTS).format(w.pick())}"


def _joined(w: Writer) -> str:
    x = w.pick()
    shape = w.of(x).shape
    y = w.pick(lambda y: y.shape == shape)
    name = w.choose(
        "concatenate", "stack", "hstack", "vstack", "column_stack", "dstack"
    )
    axis = w.maybe(0.4, f", axis={w.choose(0, -1)}") if name.endswith("e") else ""
    return f"{w.new()} = np.{name}([{x}, {y}]{axis})"


def _split(w: Writer) -> str:
    x = w.array()
    name = w.choose("array_split", "split")
    axis = w.axis(x)
    return f"{w.new()}, {w.new()} = np.{name}({x}, 2, axis={axis})"


def _unpacked(w: Writer) -> str:
    x = w.pick(lambda x: x.ndim and len(x) == 2)
    return f"{w.new()}, {w.new()} = {x}"


def _broadcast(w: Writer) -> str:
    x, y = w.pick(), w.pick()
    if w.rng.random() < 0.3:
        return f"{w.new()}, {w.new()} = np.broadcast_arrays({x}, {y})"
    return f"{w.new()} = np.broadcast_to({x}, {y}.shape)"


MOVED: list[Step] = [
    *(_permuted, _moved, _attribute, _reshaped, _reshaped, _raveled, _raveled),
    *([_rest] * 5),
    *(_joined, _joined, _split, _unpacked, _broadcast),
]


# -- indices ---------------------------------------------------------------------------
def _sliced(w: Writer) -> str:
    x = w.pick(lambda x: x.ndim)
    return f"{w.new()} = {x}[{w.index(x)}]"


def _gathered(w: Writer) -> str:
    x = w.array()
    n = w.of(x).shape[0]
    places = [w.rng.randrange(-n, n) for _ in range(w.rng.randint(1, 4))]
    index = w.choose(str(places), f"np.array({places})", f"[[{places[0]}]]")
    tail = w.maybe(0.3, ", ..., ::-1") or w.maybe(0.2, f", {places}")
    return f"{w.new()} = {x}[{index}{tail}]"


def _taken(w: Writer) -> str:
    x = w.array()
    i = w.integers()
    n = w.of(x).shape[0]
    forms = [
        f"{x}[np.clip({i}, 0, {n - 1})]",
        f"{x}[{i} % {n}]",
        f"np.take({x}, {i} % {n}, axis=0)",
        f"np.take({x}, [0, -1], axis=-1)",
        f"np.take({x}, {i}, axis=0, mode='{w.choose('clip', 'wrap')}')",
        f"np.take_along_axis({x}, np.argsort({x}, axis=0), axis=0)",
    ]
    return f"{w.new()} = {w.rng.choice(forms)}"


def _masked(w: Writer) -> str:
    x = w.array()
    n = w.of(x).shape[0]
    mask = [w.rng.random() < 0.6 for _ in range(n)]
    form = w.choose("{0}[{1}]", "{0}[np.array({1})]", "np.compress({1}, {0}, axis=0)")
    return f"{w.new()} = {form.format(x, mask)}"


def _sorted(w: Writer) -> str:
    x = w.array()
    kind = w.maybe(0.4, f", axis={w.axis(x)}")
    form = w.choose("np.sort({}{})", "np.argsort({}{}, kind='stable')")
    return f"{w.new()} = {form.format(x, kind)}"


def _searched(w: Writer) -> str:
    x = w.pick(lambda x: x.ndim == 1)
    side = w.choose("left", "right")
    return f"{w.new()} = np.searchsorted(np.sort({x}), {w.pick()}, side='{side}')"


def _chosen(w: Writer) -> str:
    x = w.pick()
    y = w.beside(x)
    form = w.choose(
        "np.select([{0} > 1, {0} < 0], [{1}, {0}], {2})",
        "np.choose({0} > 0, [{0}, {1}])",
        "np.isin({0}, [1, 2])",
        "np.array(np.allclose({0}, {1}))",
        "np.array(np.array_equal({0}, {1}))",
        "np.digitize({0}, [0, 1, 2])",
        "np.interp({0}, [0, 1, 2], [0, 4, 8])",
    )
    return f"{w.new()} = {form.format(x, y, w.scalar())}"


INDEXED: list[Step] = [
    *([_sliced] * 4),
    *(_gathered, _gathered, _taken, _taken, _masked, _sorted, _sorted),
    *(_searched, _chosen, _chosen),
]


# -- products --------------------------------------------------------------------------
def _product(w: Writer) -> str:
    x = w.array()
    last = w.of(x).shape[-1]
    y = w.pick(lambda y: y.ndim and y.shape[-1] == last)
    if w.of(y).ndim > 1:
        form = w.choose(
            "{} @ {}.swapaxes(-1, -2)", "np.matmul({}, np.swapaxes({}, -1, -2))"
        )
    else:
        form = w.choose("{} @ {}", "np.dot({}, {})", "{}.dot({})", "np.inner({}, {})")
    return f"{w.new()} = {form.format(x, y)}"


def _einsum(w: Writer) -> str:
    x = w.array(2)
    if w.of(x).ndim != 2:
        raise Unfit
    forms = ["ij->ji", "ij->", "ij->j", "ij,ij->i", "ij,kj->ik", "ij,ij"]
    form = w.rng.choice(forms)
    operands = ", ".join([x] * (1 + form.count(",")))
    return f"{w.new()} = np.einsum('{form}', {operands})"


def _paired(w: Writer) -> str:
    x, y = w.pick(), w.pick()
    form = w.choose("np.outer({}, {})", "np.kron({}, {})", "np.vdot({}, {})")
    form = w.choose(form, "np.tensordot({}, {}, 0)", "np.convolve({}, {})")
    if "tensordot" in form and not (is_finite(w.of(x)) and is_finite(w.of(y))):
        raise Unfit  # NumPy's BLAS may skip a zero, which infinity makes NaN
    return f"{w.new()} = {form.format(x, y)}"


PRODUCTS: list[Step] = [_product, _product, _einsum, _paired]
