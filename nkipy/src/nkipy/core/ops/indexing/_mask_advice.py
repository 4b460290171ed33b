"""What to write in the place of ``x[mask]``, in the words of the user's own line."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator

import numpy as np

from nkipy.hlo.ir import SourceLocation

#: By the name of a method, or of NumPy's function, that is called with nothing but the
#: selection: what has the same value. Elements that are not selected are left out, or
#: replaced by what does not change the result.
_INSTEAD = {
    **dict.fromkeys(
        ("sum", "mean", "prod", "std", "var", "any", "all"),
        "np.{name}({x}, where={mask})",
    ),
    **dict.fromkeys(
        ("max", "amax"), "np.max({x}, where={mask}, initial=np.nanmin({x}))"
    ),
    **dict.fromkeys(
        ("min", "amin"), "np.min({x}, where={mask}, initial=np.nanmax({x}))"
    ),
    **dict.fromkeys(("size", "len"), "np.count_nonzero({mask})"),
}
_GENERAL = "np.where({mask}, {x}, 0)"


def advice(location: SourceLocation | None, alike: bool) -> str:
    """How the line may go on with a shape that is known.

    Args:
        location: where a traced mask selects.
        alike: whether the mask has the shape of what it selects from.
    """
    statement = _statement(location) if location is not None and alike else None
    found = statement and _own(statement)
    if found:
        return found
    return (
        "keep the shape with np.where(mask, x, 0), reduce with np.sum(x, where=mask), "
        "or store with x[...] = np.where(mask, x + 1, x), the mask in the shape of x"
    )


def _statement(location: SourceLocation) -> ast.stmt | None:
    """The line as a statement, if it is a whole one."""
    line = linecache.getline(location.filename, location.line).strip()
    for text in (line, f"{line} pass"):  # the second of `if` and its like
        try:
            parsed = ast.parse(text).body
        except (SyntaxError, ValueError):
            continue
        return parsed[0] if len(parsed) == 1 else None
    return None


def _own(statement: ast.stmt) -> str | None:
    """The line's advice; None if it does not tell which index is the mask."""
    masks = {ast.unparse(node.slice) for node in _masked(statement)}
    if len(masks) != 1:
        return None
    (mask,) = masks
    for node in ast.walk(statement):
        if isinstance(node, ast.AugAssign) and _selects(node.target, mask):
            return _stored(
                node.target, ast.BinOp(node.target, node.op, node.value), mask
            )
        if isinstance(node, ast.Assign) and _selects(node.targets[0], mask):
            return _stored(node.targets[0], node.value, mask)
    return " and ".join(dict.fromkeys(_uses(statement)))


def _masked(tree: ast.AST) -> Iterator[ast.Subscript]:
    """Subscripts by what may be a mask."""
    static = (ast.Constant, ast.Slice, ast.Tuple, ast.UnaryOp, ast.List)
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript):
            inverted = isinstance(node.slice, ast.UnaryOp) and isinstance(
                node.slice.op, ast.Invert
            )
            if inverted or not isinstance(node.slice, static):
                yield node


def _selects(node: ast.AST, mask: str) -> bool:
    return isinstance(node, ast.Subscript) and ast.unparse(node.slice) == mask


def _stored(target: ast.expr, value: ast.expr, mask: str) -> str | None:
    """``x[mask] = f(x[mask])`` for a whole array; None if that may be another one."""
    if not _is_elementwise(value, mask):
        return None
    assert isinstance(target, ast.Subscript)
    x = ast.unparse(target.value)
    whole = ast.unparse(_Unmasked(mask).visit(value))
    return f"write {x}[...] = np.where({mask}, {whole}, {x})"


def _is_elementwise(value: ast.expr, mask: str) -> bool:
    """Whether each element of it is certainly computed from the selected ones beside
    it. A name may be that of an array with one element for each that is selected."""
    if isinstance(value, ast.BinOp):
        parts = [value.left, value.right]
        return not isinstance(value.op, ast.MatMult) and all(
            _is_elementwise(part, mask) for part in parts
        )
    if isinstance(value, ast.UnaryOp):
        return _is_elementwise(value.operand, mask)
    if isinstance(value, ast.Call) and ast.unparse(value.func).startswith("np."):
        ufunc = getattr(np, ast.unparse(value.func)[3:], None)
        if isinstance(ufunc, np.ufunc) and not value.keywords:
            return all(_is_elementwise(part, mask) for part in value.args)
    return isinstance(value, ast.Constant) or _selects(value, mask)


class _Unmasked(ast.NodeTransformer):
    """Takes ``[mask]`` away."""

    def __init__(self, mask: str) -> None:
        self.mask = mask

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        return node.value if _selects(node, self.mask) else node


def _uses(statement: ast.stmt) -> Iterator[str]:
    """What to do about each selection, by what is made of it."""
    names = _functions(statement)
    for node in _masked(statement):
        instead = _INSTEAD.get(names.get(node, ""))
        words = "write" if instead else "keep the shape with"
        x, mask = ast.unparse(node.value), ast.unparse(node.slice)
        text = (instead or _GENERAL).format(name=names.get(node), x=x, mask=mask)
        yield f"{words} {text}"


def _functions(statement: ast.stmt) -> dict[ast.AST, str]:
    """The functions and methods that take an expression and nothing else, by that."""
    names: dict[ast.AST, str] = {}
    for node in ast.walk(statement):
        if isinstance(node, ast.Attribute) and node.attr == "size":
            names[node.value] = node.attr
        if not isinstance(node, ast.Call) or node.keywords:
            continue
        if isinstance(node.func, ast.Attribute) and not node.args:
            names[node.func.value] = node.func.attr
        elif len(node.args) == 1 and isinstance(node.func, ast.Attribute):
            if ast.unparse(node.func.value) in ("np", "numpy"):
                names[node.args[0]] = node.func.attr
        elif len(node.args) == 1 and isinstance(node.func, ast.Name):
            names[node.args[0]] = node.func.id
    return names
