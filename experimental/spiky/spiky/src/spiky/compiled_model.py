"""A model compiled for the core, with its options, that can be closed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch

from spiky.configuration import NKIPyBackendConfig, is_nkipy_backend_initialized
from spiky.configuration import get_nkipy_backend_config as get_config
from spiky.options import read_options
from spiky.resources import Programs, owned_by
from spiky.torch._backend import nkipy


def compile(
    model: Callable[..., Any],
    options: Mapping[str, Any] | None = None,
    *,
    dynamic: bool | None = None,
    fullgraph: bool = False,
) -> CompiledModel:
    """A model or a function that is compiled with its first call.

    As ``torch.compile(model, backend="nkipy", options=options)``, with options checked
    at once, and a way to let go of what was compiled.

    Args:
        model: a module, or a function of tensors.
        options: see :class:`spiky.CompileOptions`.
        dynamic: as torch.compile's: whether sizes are dynamic; by default they are if
            `options` have buckets, and else from the second size on.
        fullgraph: as torch.compile's: what Python must do between graphs is an error.

    Raises:
        TypeError: `model` cannot be called; an option is of another type.
        ValueError: there is no such option, or it cannot have that value.
    """
    if not callable(model):
        raise TypeError(f"a model is a module or a function: got {model!r}")
    is_ready = is_nkipy_backend_initialized()
    read = read_options(options, get_config() if is_ready else NKIPyBackendConfig())
    if dynamic is None and read.buckets is not None:
        dynamic = True
    return CompiledModel(model, dict(options or {}), dynamic, fullgraph)


def compile_apart(
    model: Callable[..., Any],
    backend: Callable[..., Any],
    dynamic: bool | None,
    fullgraph: bool = False,
) -> Callable[..., Any]:
    """As torch.compile, apart from what else was compiled of the model.

    Neither finds what the other has compiled, nor counts for its limit of compilations.
    """
    compile_: Any = torch.compile  # overloads do not tell of isolate_recompiles
    compiled: Callable[..., Any] = compile_(
        model,
        backend=backend,
        dynamic=dynamic,
        fullgraph=fullgraph,
        isolate_recompiles=True,
    )
    return compiled


class CompiledModel:
    """What :func:`compile` returns: called as the model is, by position.

    Attributes:
        model: what was compiled.
        options: as given.
        dynamic, fullgraph: as torch.compile has them.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        options: dict[str, Any],
        dynamic: bool | None,
        fullgraph: bool,
    ) -> None:
        self.model, self.options = model, options
        self.dynamic, self.fullgraph = dynamic, fullgraph
        self._programs = Programs()
        self._is_closed = False
        self._compiled = compile_apart(model, self._compile, dynamic, fullgraph)

    def _compile(
        self, gm: torch.fx.GraphModule, example_inputs: Sequence[Any]
    ) -> Callable[..., Any]:
        with owned_by(self._programs):
            return nkipy(gm, example_inputs, options=self.options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model.

        Raises:
            ValueError: an argument is given by keyword.
            RuntimeError: the model was closed, or the backend is not initialized.
        """
        self._check_open()
        if kwargs:
            raise ValueError(
                f"a model of spiky.compile takes arguments by position, got "
                f"{', '.join(kwargs)} by keyword: give them by position, or use "
                'torch.compile(model, backend="nkipy"), which takes both'
            )
        return self._compiled(*args)

    def flush(self) -> None:
        """Wait until all calls have ended: they have when they return.

        Raises:
            RuntimeError: the model was closed.
        """
        self._check_open()

    def close(self) -> None:
        """Let go of the programs, and of what they have on the core.

        Calls raise RuntimeError from then on; closing again does nothing. The model
        itself stays as it is.
        """
        self._is_closed = True
        for program in list(self._programs):
            program.close()

    def __deepcopy__(self, known: dict[int, Any]) -> CompiledModel:
        """A copy of the model, which is compiled for itself."""
        self._check_open()
        model = deepcopy(self.model, known)
        return CompiledModel(model, dict(self.options), self.dynamic, self.fullgraph)

    def __enter__(self) -> CompiledModel:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise RuntimeError("the compiled model was closed: compile the model again")

    def __repr__(self) -> str:
        state = ", closed" if self._is_closed else ""
        return f"CompiledModel({self.model!r}, options={self.options!r}{state})"
