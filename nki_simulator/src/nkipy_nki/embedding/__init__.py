"""Kernels inside other programs: what a custom call carries, costs and does.

It is what the entry point ``nki`` of the group ``nkipy.kernel_languages`` names: who
traces, compiles or executes a program with kernels in it finds the functions here.
"""

from __future__ import annotations

from nkipy_nki._release import __version__
from nkipy_nki.arguments import ArraySpec
from nkipy_nki.capturing import keep_out_of_graphs
from nkipy_nki.embedding.interfaces import Interface, interface
from nkipy_nki.embedding.running import run, run_ranks
from nkipy_nki.embedding.times import StepTime, WorkTime, engine_times
from nkipy_nki.embedding.tracing import Embedded, as_kernel, embed
from nkipy_nki.findings import VARIABLE as FINDINGS
from nkipy_nki.language.names import TRANSPOSE_VARIABLE
from nkipy_nki.precision import VARIABLE as PRECISION
from nkipy_nki.simulation import LNC_VARIABLE
from nkipy_nki.targets import VARIABLE as TARGET
from nkipy_nki.wire import is_program

__all__ = [
    "VARIABLES",
    "ArraySpec",
    "Embedded",
    "Interface",
    "StepTime",
    "WorkTime",
    "as_kernel",
    "embed",
    "engine_times",
    "interface",
    "is_program",
    "keep_out_of_graphs",
    "run",
    "run_ranks",
    "version",
]

#: Of what a program means: it changes whenever the same bytes would do otherwise.
version = __version__

#: The environment variables that say what a kernel is traced as.
VARIABLES = (LNC_VARIABLE, PRECISION, TARGET, FINDINGS, TRANSPOSE_VARIABLE)
