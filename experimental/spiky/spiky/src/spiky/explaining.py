"""explain: compiles a model anew, runs it, and tells what became of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import getclosurevars
from typing import Any

import torch

from nkipy.hlo.notebook import place
from spiky.compiled_model import CompiledModel, compile_apart
from spiky.report import GraphBreak, Report, collected
from spiky.torch._backend import nkipy


def explain(f: Callable[..., Any], *extra_args: Any, **extra_kwargs: Any) -> Any:
    """Compile a model anew, run it once, and tell what became of it.

    Called as ``torch._dynamo.explain`` is: ``explain(model)(x)``, or
    ``explain(model, x)``. Writes the report's text to ``sys.stdout``.

    Args:
        f: a module or a function; or what :func:`spiky.compile`, or torch.compile with
            this backend, made of one, with its options.
        extra_args, extra_kwargs: its arguments.

    Returns:
        A :class:`Report`; without arguments, a function of them that returns one.

    Raises:
        TypeError: `f` cannot be called.
        RuntimeError: the backend is not initialized.
    """
    if not callable(f):
        raise TypeError(f"explain takes a module or a function: got {f!r}")

    def inner(*args: Any, **kwargs: Any) -> Report:
        return _explained(f, args, kwargs)

    return inner(*extra_args, **extra_kwargs) if extra_args or extra_kwargs else inner


def _explained(
    f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
) -> Report:
    asked = _asked(f)
    with collected() as report:

        def compile_and_tell(
            gm: torch.fx.GraphModule, inputs: Sequence[Any]
        ) -> Callable[..., Any]:
            _note_break(report, gm)
            return nkipy(gm, inputs, options=asked.options)

        compile_apart(asked.model, compile_and_tell, asked.dynamic)(*args, **kwargs)
    sys.stdout.write(f"{report}\n")
    return report


def _note_break(report: Report, gm: torch.fx.GraphModule) -> None:
    reason = getattr(gm, "compile_subgraph_reason", None)
    if reason is not None and reason.graph_break:
        stack = reason.user_stack
        line = place(stack[-1].filename, stack[-1].lineno) if stack else ""
        report.breaks.append(GraphBreak(str(reason.reason), line))


@dataclass(frozen=True)
class _Asked:
    model: Callable[..., Any]
    options: dict[str, Any] | None
    dynamic: bool | None


def _asked(f: Callable[..., Any]) -> _Asked:
    """The model below what compiles it, and how that does it.

    Raises:
        ValueError: another backend compiles it.
    """
    if isinstance(f, CompiledModel):
        return _Asked(f.model, f.options, f.dynamic)
    model = getattr(f, "_torchdynamo_orig_callable", None)
    if model is None:
        return _Asked(f, None, None)
    wrapper = _wrapper(f)
    if getattr(wrapper, "compiler_name", None) != "nkipy":
        raise ValueError(
            f'{f!r} is compiled by another backend than "nkipy": give the model itself'
        )
    return _Asked(model, wrapper.kwargs.get("options"), wrapper.dynamic)


def _wrapper(f: Callable[..., Any]) -> Any:
    """What torch.compile has made of its arguments; None: it is not where it was."""
    context = getattr(f, "dynamo_ctx", None)
    found: Any = getattr(context, "callback", None)
    if context is None:  # a function, not a module
        found = getclosurevars(f).nonlocals.get("callback")
    while hasattr(found, "_torchdynamo_orig_backend"):
        found = found._torchdynamo_orig_backend
    return found
