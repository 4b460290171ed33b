"""Attention by a flash attention kernel that an installed package offers.

``nkipy::flash_attention`` is scaled_dot_product_attention without mask and dropout. Its
lowering is the kernel where that takes the shapes, else products and softmax; and says
which. Its gradient computes the weights again.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

from nkipy.hlo.entry_points import load_first
from nkipy.hlo.kernel_languages import language
from spike_torch.aten.attention import attention
from spike_torch.aten.record import lowering
from spike_torch.lowering import Array, Graph
from spike_torch.lowering.dims import static
from spiky.kernel_programs import emitted, traced

#: The entry points' group, and the name in it.
GROUP, KERNEL = "nkipy.kernels", "flash_attention"
#: The operator that attention is in a graph, where the kernel is asked for.
NAME = "nkipy::flash_attention"
#: What is added to the score of a key that is padding: nearly the lowest number.
_HIDDEN = -3e38

_on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_gradients = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


@lru_cache(maxsize=1)
def offered() -> Any:
    """The kernel; None if no package is installed that offers one.

    Raises:
        EntryPointError: there is one, and it cannot be loaded.
    """
    return load_first(GROUP, KERNEL)


# -- the operator ----------------------------------------------------------------------
@torch.library.custom_op(NAME, mutates_args=())
def flash_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    is_causal: bool,
    scale: float | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention, and of each query the logarithm of its scores' sum of exponentials."""
    made, logs = _on_cpu(query, key, value, 0.0, is_causal, scale=scale)
    return torch.empty_like(query).copy_(made), logs.contiguous()


@flash_attention.register_fake
def _(query: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
    logs = query.new_empty(query.shape[:3], dtype=torch.float32)
    return torch.empty_like(query), logs


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
    query, key, value, ctx.is_causal, ctx.scale = inputs
    ctx.save_for_backward(query, key, value, *output)


def _backward(ctx: Any, gradient: torch.Tensor, _: Any) -> tuple[Any, ...]:
    grads = _gradients(
        gradient, *ctx.saved_tensors, 0.0, ctx.is_causal, scale=ctx.scale
    )
    return (*grads, None, None)


flash_attention.register_autograd(_backward, setup_context=_keep)


# -- its lowering ----------------------------------------------------------------------
class _DoesNotFit(Exception):
    """Why a call is not computed by the kernel."""


@lowering(NAME)
def _lower(
    g: Graph, query: Array, key: Array, value: Array, is_causal: bool, scale: Any
) -> tuple[Array, Array]:
    location = g.b.current_source_location
    where = f"{location}: " if location else ""
    shapes = ", ".join(x.value.shape_text() for x in (query, key, value))
    try:
        call = _Call(query, key, value, is_causal, _scale(scale, query))
        made = call.lower(g)
    except _DoesNotFit as why:
        g.notes.append(
            f"flash_attention: {where}{shapes} by products and softmax: {why}"
        )
        return attention(g, query, key, value, 0.0, is_causal, scale=scale)
    g.notes.append(f"flash_attention: {where}{shapes} by the kernel")
    return made


def _scale(scale: Any, query: Array) -> float:
    if scale is None:
        return 1 / math.sqrt(query.dims[3].padded)
    if not isinstance(scale, (int, float)):
        raise _DoesNotFit("its scale is not known when it is compiled")
    return float(scale)


class _Call(NamedTuple):
    """A call by the kernel: arrays of (batch, head, place, element)."""

    query: Array
    key: Array
    value: Array
    is_causal: bool
    scale: float

    def lower(self, g: Graph) -> tuple[Array, Array]:
        """The result, and the logarithms; nothing is built if it does not fit.

        Raises:
            _DoesNotFit: the kernel does not take these arrays.
        """
        self._check()
        embedded = self._traced()
        query, key, value = (
            g.masked(x, (2,), 0) for x in (self.query, self.key, self.value)
        )
        query, key = (g.transpose(x, (0, 1, 3, 2)) for x in (query, key))
        if self._sees_padding():
            query, key = _hiding_padding(g, query, key)
        arrays = (query, key, value)
        values = emitted(g, embedded, [arrays[i].value for i in embedded.operands])
        made, logs = embedded.returned(values)
        dims = self.query.dims[:3]
        logs = g.b.reshape(logs, tuple(d.padded for d in dims))
        return Array(made, (*dims, value.dims[3])), Array(logs, dims)

    def _traced(self) -> Any:
        """The kernel for these arrays, of which each has its number for an operand."""
        nki, kernel = language(), offered()
        if nki is None or kernel is None:
            raise _DoesNotFit(
                f"no package that is installed offers {KERNEL!r} of {GROUP!r}"
            )
        more = int(self._sees_padding())  # what hides it
        shapes = [
            (batch, heads, size + more, places)
            for batch, heads, places, size in (
                x.value.shape for x in (self.query, self.key)
            )
        ]
        arrays = [
            nki.ArraySpec(shape, np.dtype(x.value.dtype), i)
            for i, (shape, x) in enumerate(
                zip((*shapes, self.value.value.shape), self[:3])
            )
        ]
        numbers = self.scale, self.is_causal, True
        try:
            return traced(nki, nki.as_kernel(kernel), (*arrays, *numbers))
        except (ValueError, AssertionError) as error:  # the latter is the language's
            said = str(error).splitlines()[0]
            raise _DoesNotFit(f"the kernel says: {said}") from error

    def _sees_padding(self) -> bool:
        """Whether keys that are padding come where a query that counts looks."""
        if not self.key.dims[2].is_padded:
            return False
        return not (self.is_causal and self.query.dims[2] == self.key.dims[2])

    def _check(self) -> None:
        """Refuse what no kernel could take as it lies.

        Raises:
            _DoesNotFit: it is such.
        """
        query, key, value = (x.dims for x in self[:3])
        if query[3].is_padded or key[3].is_padded:
            raise _DoesNotFit("the size of a head is in a bucket")
        if query[1] != key[1] and (query[1].is_padded or key[1].is_padded):
            raise _DoesNotFit("several queries share keys, and heads are in a bucket")
        if query[0] != key[0] or key != value:
            raise _DoesNotFit("its arguments lie differently in their buckets")
        if self.is_causal and not (query[2].is_prefix and key[2].is_prefix):
            raise _DoesNotFit("padding lies between what a query sees")


def _hiding_padding(g: Graph, query: Array, key: Array) -> tuple[Array, Array]:
    """(batch, head, element, place) with one more element, whose product hides keys."""
    made = []
    for x in (query, key):
        dims = (*x.dims[:2], static(1), x.dims[3])
        more = g.full(dims, 1 if x is query else 0, x.dtype)
        if x is key:
            more = g.masked(more, (3,), _HIDDEN)
        value = g.b.concatenate([x.value, more.value], 2)
        made.append(Array(value, (*x.dims[:2], static(value.shape[2]), x.dims[3])))
    return made[0], made[1]
