"""Attention in a captured graph: what its arguments share, and who computes it."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterator
from typing import Any, TypeGuard

import torch
from torch import fx
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.fx.experimental.symbolic_shapes import guard_or_false

from nkipy.hlo.entry_points import EntryPointError
from spiky.compiling.sources import location_of
from spiky.flash_attention import GROUP, KERNEL, flash_attention, offered

#: What torch calls attention in a graph that it has captured.
_ATTENTION = (
    torch.nn.functional.scaled_dot_product_attention,
    torch.ops.aten.scaled_dot_product_attention.default,
)
#: What has attention in it, and is one function in such a graph.
_WITH_ATTENTION = torch.nn.functional.multi_head_attention_forward
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def _parameters(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: Any = 0.0,
    is_causal: Any = False,
    *,
    scale: Any = None,
    enable_gqa: Any = False,
) -> None:
    """Those of scaled_dot_product_attention, which has no signature of its own."""


_SIGNATURE = inspect.signature(_parameters)


def use_flash_attention(gm: fx.GraphModule) -> list[str]:
    """Put ``nkipy::flash_attention`` in place of attention that a kernel may compute.

    Args:
        gm: as torch.compile has captured it; is changed, with the graphs in it.

    Returns:
        Why each other is left as it is, with the line that the user has written it in.
    """
    notes = []
    for module, node in _calls(gm):
        why = _missing() or _replaced(module, node)
        if why is not None:
            location = location_of(node)
            where = f"{location}: " if location else ""
            notes.append(f"flash_attention: {where}not by the kernel: {why}")
    return list(dict.fromkeys(notes))


def guard_lengths(gm: fx.GraphModule) -> None:
    """Have torch's guards say that keys and values of attention are as many.

    torch takes none to be so, as of a cache of which each is an argument; where their
    numbers were not known for equal, each length would be compiled for itself.

    Args:
        gm: as torch.compile has captured it; its sizes get guards, where they agree.
    """
    for _, node in _calls(gm):
        if node.target is not _WITH_ATTENTION:
            given = _SIGNATURE.bind(*node.args, **node.kwargs).arguments
            key, value = _tensor(given["key"]), _tensor(given["value"])
            if _has_sizes(key) and _has_sizes(value):
                guard_or_false(key.shape[-2] == value.shape[-2])


def _calls(gm: fx.GraphModule) -> list[tuple[fx.GraphModule, fx.Node]]:
    """Nodes that are attention, or have some in them, with their graphs."""
    return [
        (module, node)
        for module in gm.modules()
        if isinstance(module, fx.GraphModule)
        for node in module.graph.nodes
        if node.op == "call_function"
        and (node.target in _ATTENTION or node.target is _WITH_ATTENTION)
    ]


def _replaced(module: fx.GraphModule, node: fx.Node) -> str | None:
    """Put the operator in place of a node; or say why not."""
    if node.target is _WITH_ATTENTION:
        return "torch captures nn.MultiheadAttention as one function"
    arguments = _SIGNATURE.bind(*node.args, **node.kwargs)
    arguments.apply_defaults()
    why = next(_refusals(node, arguments.arguments), None)
    if why is None:
        _replace(module.graph, node, arguments.arguments)
        module.recompile()
    return why


def _missing() -> str | None:
    """Why there is no kernel, if there is none."""
    try:
        if offered() is not None:
            return None
    except EntryPointError as error:
        return str(error)
    return f"no package that is installed offers {KERNEL!r} of {GROUP!r}"


def _refusals(node: fx.Node, given: dict[str, Any]) -> Iterator[str]:
    """Why attention is something else than the operator."""
    query, key, value = (_tensor(given[n]) for n in ("query", "key", "value"))
    made = _tensor(node)
    if query is None or key is None or value is None or made is None:
        yield "torch does not tell its arguments' shapes"
        return
    if any(map(is_functorch_wrapped_tensor, (query, key, value))):
        yield "it is transformed by torch.func"
    if given["attn_mask"] is not None:
        yield "it has a mask"
    if given["dropout_p"] != 0:
        yield "it leaves out elements at random"
    if not isinstance(given["is_causal"], bool):
        yield "whether it is causal is not known when it is compiled"
    if given["scale"] is not None and not isinstance(given["scale"], (int, float)):
        yield "its scale is not known when it is compiled"
    if any(x.ndim != 4 for x in (query, key, value)):
        yield "its arguments are not of four dimensions"
        return
    if made.dtype not in _DTYPES:
        yield f"it is of {made.dtype}"
    if not _fit(query, key, value, made):
        yield "the shapes of its arguments are broadcast, or differ in size"


def _fit(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, made: torch.Tensor
) -> bool:
    pairs = [
        *zip(made.shape, query.shape),
        *zip(value.shape, key.shape),
        (key.shape[0], query.shape[0]),
        (key.shape[3], query.shape[3]),
        (query.shape[1] % key.shape[1], 0),
    ]
    return all(guard_or_false(a == b) for a, b in pairs)


def _tensor(node: Any) -> torch.Tensor | None:
    value = node.meta.get("example_value") if isinstance(node, fx.Node) else None
    return value if isinstance(value, torch.Tensor) else None


def _has_sizes(x: torch.Tensor | None) -> TypeGuard[torch.Tensor]:
    return x is not None and not x.is_nested and not is_functorch_wrapped_tensor(x)


def _replace(graph: fx.Graph, node: fx.Node, given: dict[str, Any]) -> None:
    made = _tensor(node)
    assert made is not None
    with graph.inserting_before(node):
        # Autocast, of which torch's operator knows, may want another dtype.
        arrays = [
            given[n]
            if _tensor(given[n]).dtype == made.dtype  # type: ignore[union-attr]
            else graph.call_method("to", (given[n], made.dtype))
            for n in ("query", "key", "value")
        ]
        op: Any = flash_attention._opoverload
        both = graph.call_function(op, (*arrays, given["is_causal"], given["scale"]))
        out = graph.call_function(operator.getitem, (both, 0))
        if made.is_contiguous():  # as what follows may rely on
            out = graph.call_method("contiguous", (out,))
    for new in (*arrays, both, out):
        new.meta = {**node.meta, **new.meta}
    out.meta["example_value"] = made
    node.replace_all_uses_with(out)
    graph.erase_node(node)
