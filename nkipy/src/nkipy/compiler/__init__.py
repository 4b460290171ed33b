"""From a module of HLO to a NEFF: targets, compilers, the command, the artifacts.

Knows no tracer: whoever has an :class:`~nkipy.hlo.ir.HLOModule` can compile it.
"""
