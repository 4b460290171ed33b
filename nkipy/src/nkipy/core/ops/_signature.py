"""Signatures of ops, as callers see them: for `inspect`, `help`, and the stubs."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Any

#: What a traced array is to who writes a kernel.
_ARRAY = "NDArray[Any]"
_TRACED = ("NKIPyTensorRef", "Tensor")


class Annotation(str):
    """An annotation as the source has it, which shows without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def signature_of(implementation: Callable[..., Any]) -> Signature:
    """The parameters of an op's implementation, and what it returns."""
    found = signature(implementation)
    parameters = [
        p.replace(annotation=_annotation(p.annotation))
        for p in found.parameters.values()
    ]
    return Signature(parameters, return_annotation=_annotation(found.return_annotation))


def _annotation(annotation: object) -> object:
    if annotation is Signature.empty:
        return annotation
    text = annotation if isinstance(annotation, str) else _name_of(annotation)
    for name in _TRACED:
        text = text.replace(name, _ARRAY)
    return Annotation(text)


def _name_of(annotation: object) -> str:
    return getattr(annotation, "__name__", str(annotation))


def ufunc_signature(nin: int, nout: int) -> Signature:
    """NumPy's signature of a ufunc."""
    inputs = [f"x{i + 1}" for i in range(nin)] if nin > 1 else ["x"]
    parameters = [_parameter(n, "ArrayLike", kind=_POSITIONAL) for n in inputs]
    outs = [f"out{i + 1}" for i in range(nout)] if nout > 1 else []
    parameters += [_parameter(n, _OUT, None, _POSITIONAL) for n in outs]
    parameters += [
        _parameter("out", f"{_OUT} | tuple[{_OUT}, ...]", None, _OF_OUT[nout > 1]),
        _parameter("where", "ArrayLike", True),
        _parameter("casting", "str", "same_kind"),
        _parameter("order", "str", "K"),
        _parameter("dtype", "DTypeLike | None", None),
        _parameter("subok", "bool", True),
    ]
    results = _ARRAY if nout == 1 else f"tuple[{', '.join([_ARRAY] * nout)}]"
    return Signature(parameters, return_annotation=Annotation(results))


_POSITIONAL = Parameter.POSITIONAL_ONLY
#: With one result, with several.
_OF_OUT = Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY
_OUT = f"{_ARRAY} | None"


def _parameter(
    name: str,
    annotation: str,
    default: object = Parameter.empty,
    kind: Any = Parameter.KEYWORD_ONLY,
) -> Parameter:
    return Parameter(name, kind, default=default, annotation=Annotation(annotation))
