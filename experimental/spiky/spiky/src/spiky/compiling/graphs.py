"""Compiles what AOT autograd makes of a captured graph, as forward and backward."""

from __future__ import annotations

import logging
import operator
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from functorch.compile import (
    default_partition,
    make_boxed_func,
    min_cut_rematerialization_partition,
)
from torch import fx
from torch._dynamo.backends.common import aot_autograd
from torch._functorch import config as aot_config
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import CheckpointPolicy

from nkipy.compiler.driver import CompilationError
from spike_torch import current_device
from spike_torch.lowering import NeedsExactSize, Unsupported
from spiky.compiling.attention import guard_lengths, use_flash_attention
from spiky.compiling.buckets import bucket_rules
from spiky.compiling.calling import called, cut_before, profiled, required
from spiky.compiling.declared import declared_symbols
from spiky.compiling.decompositions import decompositions_of
from spiky.compiling.eager import EagerOperators
from spiky.compiling.forward_mode import forward_mode_apart
from spiky.compiling.graph_ends import count_shown, saved_names
from spiky.compiling.limits import warn_of_limit
from spiky.compiling.module import Layouts
from spiky.compiling.part import Part, Settings
from spiky.compiling.partition import copied, partitioned
from spiky.compiling.prelude import split_prelude
from spiky.compiling.refused import refused_nodes
from spiky.compiling.seeds import is_random
from spiky.compiling.sources import told
from spiky.compiling.strided import read_owners
from spiky.compiling.support import Refused, refusals
from spiky.compiling.telling import tell_parts
from spiky.compiling.views import MakeViews, check_padded, split_views
from spiky.configuration import NKIPyBackendConfig
from spiky.errors import BackendError
from spiky.options import CompileOptions
from spiky.report import begin_graph
from spiky.resources import hold, owned_by, owner

logger = logging.getLogger(__name__)


def compile_graph(
    gm: fx.GraphModule,
    example_inputs: Sequence[Any],
    config: NKIPyBackendConfig,
    options: CompileOptions,
) -> Callable[..., Any]:
    """What runs a graph, forward and backward, with its inputs as arguments.

    Args:
        gm: as torch.compile has captured it.
        example_inputs: fake tensors and symbolic sizes, in the order of its inputs.
        config: how the backend is set up.
        options: of this function.
    """
    warn_of_limit()
    declared = declared_symbols(example_inputs, options)
    computed = [n.meta.get("example_value") for n in gm.graph.nodes]
    core = _core_of([*example_inputs, *tree_leaves(computed)])
    compiler = _Compiler(config, options, core, declared)
    guard_lengths(gm)
    if options.flash_attention:
        compiler.notes += use_flash_attention(gm)
    compile_both = aot_autograd(
        fw_compiler=partial(compiler.compile, "forward"),
        bw_compiler=partial(compiler.compile, "backward"),
        inference_compiler=partial(compiler.compile, "inference"),
        decompositions=decompositions_of(gm),
        partition_fn=_forward_and_backward,
        keep_inference_input_mutations=True,
    )
    # Backward says how forward is to leave what it reads, before forward runs once.
    with aot_config.patch(force_non_lazy_backward_lowering=True):
        return compile_both(gm, example_inputs)


def _forward_and_backward(joint: fx.GraphModule, inputs: Any, **more: Any) -> Any:
    """The forward and the backward graph of a joint one.

    What takes little is computed again rather than kept; but random numbers would not
    be the same: they are kept, also where a checkpoint is to compute all again.
    """
    random = list(filter(is_random, joint.graph.nodes))
    for node in random:
        results = [user for user in node.users if user.target is operator.getitem]
        for kept in (node, *results):
            kept.meta["recompute"] = CheckpointPolicy.MUST_SAVE
    if random:
        return default_partition(joint, inputs, **more)
    return min_cut_rematerialization_partition(joint, inputs, **more)


def _core_of(values: Sequence[Any]) -> int:
    """The core that tensors are on; of those of the CPU, the current one.

    Raises:
        BackendError: they are on several; a RuntimeError.
    """
    cores = {
        t.device.index
        for t in values
        if isinstance(t, torch.Tensor) and t.device.type == "nkipy"
    }
    if len(cores) > 1:
        raise BackendError(
            f"torch.compile(backend='nkipy') takes tensors on one core: got cores "
            f"{sorted(cores)}. Move them before, or compile what each core does apart"
        )
    return cores.pop() if cores else current_device()


class _Compiler:
    """Compiles the graphs of one captured function.

    Attributes:
        notes: of the function, for the report of its first graph.
    """

    def __init__(
        self,
        config: NKIPyBackendConfig,
        options: CompileOptions,
        core: int,
        declared: Collection[Any],
    ) -> None:
        self.options = options
        self.declared = declared
        self.rank = config.rank
        self.notes: list[str] = []
        self._forward: Part | None = None
        self._owner = owner()
        self._eager = EagerOperators(is_error=options.unsupported == "error")
        self.settings = Settings(
            core,
            config.build_options(),
            partial(bucket_rules, options),
            may_compile=options.jit,
            pads_on_device=options.pad_on_device,
            keeps_outputs_on_device=options.keep_outputs_on_device,
            pads_results=not options.unpad_outputs,
        )

    def compile(
        self, name: str, gm: fx.GraphModule, inputs: Sequence[Any]
    ) -> Callable[..., Any]:
        """One graph of AOT autograd's."""
        self.report = begin_graph(name)
        if self.options.pipelined:
            self.report.notes.append("pipelined: calls are synchronous all the same")
        gm.graph.eliminate_dead_code()
        if name != "backward":
            self.report.notes += self.notes
        run = self._with_views(name, gm)
        return forward_mode_apart(run, gm) if name == "inference" else run

    def _with_views(self, name: str, gm: fx.GraphModule) -> Callable[..., Any]:
        if not self.options.unpad_outputs:
            check_padded(gm, count_shown(name))
            return self._compiled(name, gm)
        views = split_views(gm, count_shown(name))
        run = self._compiled(name, gm)
        return run if views is None else _followed(run, views)

    def _compiled(self, name: str, gm: fx.GraphModule) -> Callable[..., Any]:
        refused: Refused = {}
        try:
            part = self._whole(name, gm)
        except Unsupported as error:
            logger.debug("%s: %s", name, error)
        except CompilationError as error:
            refused = refused_nodes(gm, self.settings.build, error)
        else:
            tell_parts(self.report, gm)
            return self._called(name, part)
        return make_boxed_func(self._after_prelude(name, gm, refused))

    def _called(self, name: str, part: Part) -> Callable[[list[Any]], list[Any]]:
        needed = () if name == "backward" else self.declared
        return called(part, self.options, self.rank, needed)

    def _after_prelude(
        self, name: str, gm: fx.GraphModule, by_compiler: Refused
    ) -> Callable[..., Any]:
        """The graph, of which the host computes some numbers first; else in parts."""
        read_owners(gm)
        refused = {**refusals(gm), **by_compiler}
        split = split_prelude(gm, refused)
        if split is not None:
            prelude, rest = split
            try:
                run = self._called(name, self._whole(name, rest))
            except Unsupported as error:
                logger.debug("%s, without numbers: %s", name, error)
            except CompilationError as error:
                more = refused_nodes(gm, self.settings.build, error)
                refused = {**refused, **more}
            else:
                tell_parts(self.report, rest)
                self.report.notes.append(_told_of_host(refused))
                return lambda *arguments: run([*arguments, *prelude(*arguments)])
        if name == "backward":
            self._cut_saved()
        return self._in_parts(name, gm, refused)

    def _whole(self, name: str, gm: fx.GraphModule) -> Part:
        """The graph as one part; what forward keeps for backward stays padded."""
        if name == "forward":
            self._forward = None
            self._forward = self._made(gm, name, saved_names(gm))
            return self._forward
        forward = self._forward
        if name == "backward" and forward is not None:
            layouts, exact = forward.result_layouts(), forward.exact
            try:
                return self._made(gm, name, (), layouts, exact)
            except (NeedsExactSize, Unsupported) as error:
                if isinstance(error, Unsupported) and hasattr(error, "node"):
                    raise  # without padding, that has no lowering either
                logger.debug("what forward keeps is cut, as backward %s", error)
                self._cut_saved()
        return self._made(gm, name)

    def _made(
        self,
        gm: fx.GraphModule,
        name: str,
        padded: Collection[str] = (),
        layouts: Layouts = MappingProxyType({}),
        exact: Mapping[Any, NeedsExactSize] = MappingProxyType({}),
    ) -> Part:
        settings = self.settings
        if name not in ("forward", "inference"):
            # torch expects gradients, and eager operators what they take, as it says.
            settings = settings._replace(keeps_outputs_on_device=False)
        part = Part(gm, name, settings, padded, layouts, exact, self.report)
        part.prepare()
        with owned_by(self._owner):  # torch may compile backward at its first call
            hold(part)
        return part

    def _cut_saved(self) -> None:
        if self._forward is not None:
            self._forward.cut_results()
            self._forward = None

    def _in_parts(
        self, name: str, gm: fx.GraphModule, refused: Refused
    ) -> Callable[..., Any]:
        """Parts, and between them what is refused; also what a part is refused for."""
        by_name = {node.name: why for node, why in refused.items()}
        while True:
            copy = copied(gm)
            nodes = [n for n in copy.graph.nodes if n.name in by_name]
            try:
                return self._divided(name, copy, {n: by_name[n.name] for n in nodes})
            except _PartRefused as error:
                if error.by_name.keys() <= by_name.keys():
                    raise error.cause from None
                by_name |= error.by_name

    def _divided(
        self, name: str, gm: fx.GraphModule, refused: Refused
    ) -> Callable[..., Any]:
        self._eager.tell(refused)
        needed = () if name == "backward" else required(self.options, self.declared)
        original = [n for n in gm.graph.nodes if n.op == "placeholder"]
        self.settings = self.settings._replace(pads_results=False)
        divided = partitioned(gm, set(refused), partial(self._part, name))
        tell_parts(self.report, divided, refused)
        return cut_before(divided.forward, original, needed)

    def _part(self, name: str, number: int, gm: fx.GraphModule) -> Callable[..., Any]:
        try:
            part = self._made(gm, f"{name}_{number}")
        except Unsupported as error:
            warnings.warn(
                f"part {number} of the {name} graph {told(error)}; it runs eagerly",
                stacklevel=2,
            )
            return gm.forward
        except CompilationError as error:
            found = refused_nodes(gm, self.settings.build, error)
            raise _PartRefused(error, found) from error
        run = profiled(part, self.options, self.rank)
        return lambda *arguments: run(list(arguments))


def _told_of_host(nodes: Refused) -> str:
    names = dict.fromkeys(str(n.target) for n in nodes if n.op == "call_function")
    return f"the host computes numbers before: {', '.join(names)}"


class _PartRefused(Exception):
    """The compiler has refused a part of a graph.

    Attributes:
        cause: what it said.
        by_name: the names of nodes at fault, and why.
    """

    def __init__(self, cause: CompilationError, refused: Refused) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.by_name = {node.name: why for node, why in refused.items()}


def _followed(run: Callable[..., Any], views: MakeViews) -> Callable[..., Any]:
    """What runs a graph, and makes views of what it returns."""
    call = make_boxed_func(lambda *arguments: views(list(run(list(arguments)))))
    made: Callable[..., Any] = call
    return made
