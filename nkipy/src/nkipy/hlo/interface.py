"""The names by which compilers and runtimes know a module's inputs and outputs.

neuronx-cc takes them from frontend attributes: each entry parameter has its own under
:data:`NEFF_INPUT_NAMES`, the root all names of outputs under :data:`NEFF_OUTPUT_NAMES`,
joined with commas. A parameter whose name ends in :data:`MUST_ALIAS_SUFFIX` lends its
memory to an output. Clients set all of them through :class:`nkipy.hlo.HLOModule`:
``add_parameter(..., name)``, ``set_results(..., names)`` and ``alias(...)``.
"""

from __future__ import annotations

NEFF_INPUT_NAMES = "neff_input_names"
NEFF_OUTPUT_NAMES = "neff_output_names"
#: Ends the name of a parameter whose memory receives an output.
MUST_ALIAS_SUFFIX = ".must_alias_input"

#: Metadata of instructions that have a source location: the type of all ops, and what
#: precedes an opcode in an op's name.
OP_TYPE = "NKIPy_Op"
OP_NAME_PREFIX = "hlo__"
