"""Steps that write: into arrays, through views, into arrays that the program makes."""

from __future__ import annotations

import numpy as np

from tests.support.programs.writer import Step, Writer, is_writable, literal


# -- stores ----------------------------------------------------------------------------
def _value(w: Writer, x: str) -> str:
    """What may be stored into `x`: integers take no floats that they cannot hold."""
    array = w.of(x)
    if array.dtype.kind in "iu":
        small = w.pick(lambda y: y.dtype.kind in "b" or _is_small(y))
        return w.choose("1", "2", "True", "0", small)
    return w.choose(w.scalar(), w.beside(x), w.pick(lambda y: y.ndim == 0))


def _is_small(y: np.ndarray) -> bool:
    return bool(np.all((y.astype(np.float64) >= 0) & (y.astype(np.float64) < 100)))


def _target(w: Writer) -> str:
    return w.pick(lambda x: is_writable(x) and x.ndim)


def _store(w: Writer) -> str:
    x = w.writable()
    return f"{x}[{w.index(x)}] = {_value(w, x)}"


def _augmented(w: Writer) -> str:
    x = w.writable()
    sign = w.choose("+", "-", "*", "//", "%", "/", "|", "&", "**", "@")
    return f"{x}[{w.index(x)}] {sign}= {_value(w, x)}"


def _in_place(w: Writer) -> str:
    x = w.pick()
    sign = w.choose("+", "-", "*", "/", "//", "%", "&", "^", "<<", ">>")
    return f"{x} {sign}= {w.choose(w.beside(x), w.scalar())}"


_VIEWS = (
    *("{0}.T", "{0}.reshape(-1)", "{0}.ravel()", "{0}[::-1]", "{0}[..., ::2]"),
    *("{0}[None]", "np.transpose({0})", "{0}.swapaxes(0, -1)", "np.squeeze({0})"),
    *("np.atleast_2d({0})", "{0}[-1]", "np.flip({0})", "{0}.view()", "{0}.T.T"),
    *("np.asarray({0})", "{0}.real", "np.split({0}, 1)[0]", "np.rot90({0})"),
    *("{0}.reshape({0}.shape + (1,))", "np.expand_dims({0}, 0)", "np.conj({0})"),
    *("{0}.T.reshape(-1)", "{0}[::-1].ravel()", "{0}.T[0:1].reshape(-1)"),
    *("np.broadcast_arrays({0})[0]", "np.moveaxis({0}, 0, -1)", "{0}[()]", "{0}[...]"),
    *("np.diagonal({0})", "np.ascontiguousarray({0})", "{0}.astype({0}.dtype)"),
    *("{0}.astype({0}.dtype, copy=False)", "np.asfortranarray({0})", "({0} + 0)"),
    *(
        "({0}.T + 0)",
        "np.atleast_3d({0})",
        "next(iter({0}))",
        "np.array({0}, copy=None)",
    ),
    *("{0}.T.copy()", "{0}.T.copy(order='K')", "np.ones_like({0}.T)", "{0}.flatten()"),
)


def _through_view(w: Writer) -> str:
    x = _target(w)
    name = w.new()
    view = w.rng.choice(_VIEWS).format(x)
    then = w.choose("", "", ".T", ".reshape(-1)", "[..., :1]", ".ravel()", "[1:]")
    write = w.choose(
        "[...] = {}", "[...] += {}", "[-1:] = {}", "[:1] *= {}", "[0] = {}"
    )
    return f"{name} = {view}{then}\n{name}{write.format(_plain_value(w, x))}"


def _plain_value(w: Writer, x: str) -> str:
    return w.choose("2", "3", "1", "0") if w.of(x).dtype != bool else "True"


def _masked(w: Writer) -> str:
    x = _target(w)
    y = w.pick(lambda y: y.shape == w.of(x).shape)
    mask = f"{y} {w.choose('>', '<', '!=')} {w.choose('0', '1', '2')}"
    value = _plain_value(w, x)
    forms = [
        *(
            "{x}[{mask}] = {value}",
            "{x}[{mask}] += {value}",
            "{x}[{mask}] = {x}[{mask}]",
        ),
        *("np.copyto({x}, {value}, where={mask})", "np.putmask({x}, {mask}, {value})"),
        *("np.place({x}, {mask}, [{value}])", "{x}[~({mask})] *= {value}"),
    ]
    return w.rng.choice(forms).format(x=x, mask=mask, value=value)


def _scattered(w: Writer) -> str:
    x = w.pick(lambda x: x.ndim and x.size and is_writable(x))
    n = w.of(x).shape[0]
    places = [w.rng.randrange(-n, n) for _ in range(w.rng.randint(1, 3))]
    value = w.choose(_plain_value(w, x), f"{x}[0]", f"{x}[-1]")
    forms = [
        *(
            "{x}[{places}] = {value}",
            "{x}[{places}] += {value}",
            "{x}[{places}, ...] = 1",
        ),
        *("{x}[[{places}]] = {value}", "{x}[np.array({places})] *= {value}"),
        *("{x}[..., [0, 0]] = 2", "np.put({x}, {places}, {value})"),
        *("np.put({x}, {places}, [1, 2], mode='wrap')", "{x}.put({places}, 1)"),
        *("np.put_along_axis({x}, np.argmin({x}, axis=0, keepdims=True), 1, axis=0)",),
    ]
    return w.rng.choice(forms).format(x=x, places=places, value=value)


def _by_index(w: Writer) -> str:
    x = w.pick(lambda x: x.ndim and x.size and is_writable(x))
    i = w.integers()
    n = w.of(x).shape[0]
    return f"{x}[{i} % {n}] {w.choose('', '+', '*')}= {_plain_value(w, x)}"


def _whole(w: Writer) -> str:
    x = _target(w)
    forms = [
        *("{x}.fill(2)", "{x}.sort()", "{x}.sort(axis=0)", "np.fill_diagonal({x}, 1)"),
        *("{x}.flat = 1", "{x}[:], {x}[...] = 1, {x}[::-1] + 0"),
        *("{x}[1:] = {x}[:-1]", "{x}[...] = {x}[::-1]", "{x}[:-1] += {x}[1:]"),
        *("np.copyto({x}, {x}[::-1])", "{x}[...] = {x}[..., ::-1]", "{x}[..., :] = 0"),
        *("{x}.T[...] = 1", "{x}.clip(0, 2, out={x})"),
        *("{x}.cumsum(0, out={x})", "{x}.round(out={x})"),
    ]
    return w.rng.choice(forms).format(x=x)


def _exchanged(w: Writer) -> str:
    x = w.pick(lambda x: x.ndim and len(x) > 1 and is_writable(x))
    forms = [
        *(
            "{x}[0], {x}[1] = {x}[1].copy(), {x}[0].copy()",
            "{x}[0], {x}[1] = {x}[1], {x}[0]",
        ),
        *("{x}[[0, 1]] = {x}[[1, 0]]", "{x}[0] = {x}[1]\n{x}[1] = {x}[0]"),
    ]
    return w.rng.choice(forms).format(x=x)


STORES: list[Step] = [
    *([_store] * 4),
    *([_through_view] * 5),
    *(_augmented, _augmented, _in_place, _in_place, _in_place, _masked, _masked),
    *(_scattered, _scattered, _by_index, _whole, _whole, _exchanged),
]


# -- arrays made inside ----------------------------------------------------------------
def _made(w: Writer) -> str:
    shape, dtype = w.shape(), w.choose("f32", "f32", "i32", w.dtype())
    forms = [
        *("np.zeros({0}, {1})", "np.ones({0}, {1})", "np.full({0}, 2, {1})"),
        *("np.arange({2}, dtype={1})", "np.eye(3, dtype={1})", "np.zeros({0})"),
        *("np.arange({2})", "np.identity(2)", "np.tri(3)", "np.linspace(0, 4, 5)"),
        *("np.array([1, 2, 3])", "np.array(2.0)", "np.array(3, {1})", "np.arange(6.0)"),
        *(
            "np.arange(6).reshape(2, 3)",
            "np.zeros((3, 2), {1}).T",
            "np.ones({0}, order='F')",
        ),
        *("np.full({0}, inf, f32)", "np.array([0.0, -0.0, inf, nan], f32)"),
        *("np.indices((2, 3))[1]", "np.meshgrid([1, 2], [3, 4])[0]", "np.float32(2)"),
        *("np.array([-2147483648, 2147483647, 0, -1], i32)", "np.full((3,), N)"),
        literal(w.rng, shape, dtype),
    ]
    text = w.rng.choice(forms).format(shape, dtype, w.rng.randint(0, 5))
    return f"{w.new()} = {text}"


def _like(w: Writer) -> str:
    x = w.pick()
    forms = [
        *("np.zeros_like({0})", "np.ones_like({0})", "np.full_like({0}, 2)"),
        *("np.zeros({0}.shape, f32)", "np.ones({0}.shape, {0}.dtype)"),
        *(
            "np.zeros_like({0}, dtype=i32)",
            "np.full({0}.shape, 3)",
            "{0} * 0",
            "{0} - {0}",
        ),
        *("np.arange({0}.size).reshape({0}.shape)", "np.zeros_like({0}, shape=(3,))"),
    ]
    return f"{w.new()} = {w.rng.choice(forms).format(x)}"


def _folding(w: Writer) -> str:
    """Traced operands that are constants, which XLA computes while it compiles."""
    x = w.pick()
    forms = [
        *("7 // np.zeros_like({0})", "np.ones_like({0}) % ({0} * 0)", "({0} * 0) / 0"),
        *("np.zeros_like({0}) ** 0", "np.arctan2({0} * 0, {0} * -0)", "({0} * 0) // 2"),
        *("np.full_like({0}, 3) // np.full_like({0}, 2)", "np.ones_like({0}) << 40"),
        *("np.minimum({0} * 0 + nan, 1)", "np.zeros({0}.shape, f32) / 0 + {0}"),
        *("np.zeros_like({0}) == -np.zeros_like({0})", "np.copysign(1, {0} * -0.0)"),
        *(
            "np.zeros({0}.shape, i32)[..., None] // 0",
            "np.sqrt(-np.ones({0}.shape, f32))",
        ),
        *(
            "np.sort(np.zeros_like({0}))",
            "np.argmax(np.zeros_like({0}))",
            "1 / ({0} * 0)",
        ),
        *("np.divmod(np.zeros_like({0}), 0)[1]", "np.gcd(np.zeros({0}.shape, i32), 0)"),
        *("np.power(np.full({0}.shape, 2), 3)", "np.cumsum(np.ones_like({0}))"),
    ]
    return f"{w.new()} = {w.rng.choice(forms).format(x)}"


def _filled(w: Writer) -> str:
    """An array that is made inside, then takes traced values."""
    x = w.array()
    name = w.new()
    shape, dtype = w.of(x).shape, w.choose("f32", f"{x}.dtype")
    make = w.choose("np.zeros({}, {})", "np.ones({}, {})", "np.full({}, 2, {})")
    if dtype == "f32" and w.of(x).dtype.itemsize == 8:
        dtype = f"{x}.dtype"
    stores = [
        *(
            "{0}[...] = {1}",
            "{0}[0] = {1}[-1]",
            "{0}[::2] = {1}[::2]",
            "{0}.T[...] = {1}.T",
        ),
        *(
            "for i in range({n}):\n    {0}[i] = {1}[i] + i",
            "{0}[[0, -1]] = {1}[[-1, 0]]",
        ),
        *("{0}.reshape(-1)[0] = {1}.reshape(-1)[-1]", "{0} += {1}", "{0}[{1} > 0] = 3"),
        *("{0}[..., 0] = {1}[..., -1]", "w = {0}[0:1]\n{0}[0] = {1}[0]\nw *= 2"),
        *(
            "w = {0}.ravel()\n{0}[0] = {1}[0]\nw[-1] = w[0]",
            "np.add({0}, {1}, out={0})",
        ),
        *("np.copyto({0}, {1})", "np.put({0}, [0], {1}[-1])"),
    ]
    store = w.rng.choice(stores).format(name, x, n=len(w.of(x)))
    return f"{name} = {make.format(shape, dtype)}\n{store}"


def _mixed(w: Writer) -> str:
    """An array of traced and other numbers."""
    x = w.pick(lambda x: x.ndim == 0)
    form = w.choose(
        "np.array([{0}, 1, {0}])", "np.stack([{0}, {0} * 2])", "np.array({0})"
    )
    form = w.choose(form, "np.array([[1, {0}], [{0}, 2]])", "np.full((2, 3), {0})")
    return f"{w.new()} = {form.format(x)}"


INSIDE: list[Step] = [
    *([_made] * 4),
    *(_like, _like, _folding, _folding, _filled, _filled, _filled, _mixed),
]
