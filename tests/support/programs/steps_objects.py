"""Steps with objects that hold arrays, branches, loops, closures, captured arrays."""

from __future__ import annotations

from tests.support.programs.writer import Step, Writer


def _held(w: Writer) -> str:
    x = w.pick()
    y = w.beside(x)
    name = w.new()
    forms = [
        "p = Pair({x}, {y})\np.left = p.left + p.scale\n{v} = p.left * p.right",
        "p = dataclasses.replace(Pair({x}, {y}), scale=3.0)\n{v} = p.left * p.scale",
        "t = Two({x}, {y})\nt = t._replace(first=t.second)\n{v} = t.first + t[1]",
        "d = dict(x={x}, y={y})\nd['x'] = d['x'] * 2\n{v} = d['x'] - d['y']",
        "d = dict(x={x})\nd['x'] += 1\n{v} = d['x'] * 1",
        "d = collections.defaultdict(list)\nd[0].append({x})\n{v} = d[0][0] + {y}",
        "l = [{x}, {y}]\nl[0] += 1\nl.append({x})\n{v} = sum(l)",
        "l = [e * 2 for e in ({x}, {y})]\n{v} = l[0] + l[-1]",
        "p = Pair({x}, Pair({y}, 2))\np.left[...] = 1\n{v} = p.right.left + p.left",
        "l = sorted([3, 1])\n{v} = {x} * l[0] + {y}",
        "{v} = max([{x}.ndim, 1]) + {x}",
    ]
    return w.rng.choice(forms).format(x=x, y=y, v=name)


def _called(w: Writer) -> str:
    x = w.pick()
    y = w.beside(x)
    name = w.new()
    forms = [
        "def inner(e, by=2):\n    return e * by + {y}\n{v} = inner({x})",
        "def inner(e):\n    e[...] = 1\n    return e\n{v} = inner({x})",
        "{v} = (lambda e: e + {y})({x})",
        "def inner(*es, **by):\n    return es[0] + by['y']\n{v} = inner({x}, y={y})",
        "def inner(e):\n    yield e\n    yield e + {y}\n{v} = sum(inner({x}))",
        "def inner():\n    nonlocal {x}\n    {x} = {x} + 1\ninner()\n{v} = {x} * 2",
        "{v} = list(map(np.negative, [{x}]))[0]",
    ]
    return w.rng.choice(forms).format(x=x, y=y, v=name)


OBJECTS: list[Step] = [_held, _held, _called]


def _branch(w: Writer) -> str:
    x = w.pick()
    forms = [
        "{v} = {x} * 2 if {x}.ndim > 1 else {x} + 1",
        "{v} = {x}.T if {x}.size > 3 else -{x}",
        "{v} = {x} + 1 if {x}.dtype.kind == 'f' else {x} * 2",
        "{v} = {x}[0] if len({x}) > 2 else {x}",
        "{v} = {x} - 1 if N > 2 else {x}",
        "{v} = {x} * 0 if np.arange(3)[1] == 1 else {x}",
        "{v} = {x} if np.issubdtype({x}.dtype, np.floating) else {x} * 1.0",
    ]
    return w.rng.choice(forms).format(x=x, v=w.new())


def _loop(w: Writer) -> str:
    x = w.array()
    forms = [
        "{v} = 0\nfor row in {x}:\n    {v} = {v} + row",
        "{v} = 1\nfor i in range(3):\n    {v} = {v} * ({x} - i)",
        "{v} = 0\nfor i, e in enumerate({x}):\n    {v} = np.maximum({v}, e * i)",
        "{v} = np.stack([row * i for i, row in enumerate({x})])",
        "{v} = [row + 1 for row in {x}][-1]",
        "{v} = sum(a * b for a, b in zip({x}, reversed({x})))",
        "{v} = {x}\nwhile {v}.ndim > 1:\n    {v} = {v}.max(0)",
        "{v} = np.zeros(len({x}), {x}.dtype)\n"
        "for i in range(len({x})):\n    {v}[i] = {x}[i].max()",
    ]
    return w.rng.choice(forms).format(x=x, v=w.new())


BRANCHES: list[Step] = [_branch, _loop]


def _captured(w: Writer) -> str:
    x = w.pick()
    forms = [
        *("{x} + C", "C * {x}", "C[::-1] - {x}", "np.where(C > 1, {x}, 2)", "{x} * N"),
        *("{x} + O.left", "O.left[1] * {x}", "{x} * O.right[0]", "O.right[1] + {x}"),
        *("C.sum() * {x}", "np.concatenate([C.ravel(), np.ravel({x})])", "{x} + C[0]"),
        *("np.maximum({x}, C)", "{x} * O.scale", "C.copy() + {x}", "np.array(C)"),
        *("C.T + {x}", "np.stack([C, C]) * {x}", "{x} @ O.left", "{x}[..., C.ndim:]"),
    ]
    return f"{w.new()} = {w.rng.choice(forms).format(x=x)}"


CAPTURED: list[Step] = [_captured]
