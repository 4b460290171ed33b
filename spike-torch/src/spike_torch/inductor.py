"""What torch.compile's default backend says of the device: it has no code for it.

Imported when that backend registers devices, so it costs nothing before.
"""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch._inductor.codegen.common import register_backend_for_device
from torch._inductor.codegen.cpp_wrapper_cpu import CppWrapperCpu
from torch._inductor.codegen.wrapper import PythonWrapperCodegen
from torch._inductor.custom_graph_pass import CustomGraphModulePass
from torch._inductor.scheduler import BaseScheduling
from torch.utils._ordered_set import OrderedSet

from spike_torch._names import NAME


class _Refusal(CustomGraphModulePass):
    """Runs for each graph with the device in it, before code is made."""

    def __call__(self, gm: torch.fx.GraphModule) -> NoReturn:
        raise NotImplementedError(
            f'torch.compile\'s backend "inductor" makes no code for the device "{NAME}"'
            f': use torch.compile(..., backend="{NAME}"), with a package that has it, '
            'or backend="aot_eager", by which operations run one by one'
        )

    def uuid(self) -> None:
        """No graph of the device is cached."""


class _Scheduling(BaseScheduling):
    """Is asked for features only: no graph comes as far as being scheduled."""

    @classmethod
    def get_backend_features(cls, device: torch.device) -> OrderedSet[Any]:
        return OrderedSet()


def refuse() -> None:
    """Have the backend refuse graphs of the device by a message."""
    register_backend_for_device(
        NAME,
        _Scheduling,
        PythonWrapperCodegen,
        CppWrapperCpu,
        device_custom_pass=_Refusal(),
    )
