"""What can be wrong with a module."""

from __future__ import annotations


class HLOVerificationError(ValueError):
    """An instruction breaks the rules of its opcode, or a module those of XLA."""


class HLOProtoError(ValueError):
    """A serialised module is malformed, or says what this reader does not know."""


class HLOUnsupportedError(HLOProtoError, HLOVerificationError):
    """A module says what nkipy lacks, and may be valid for all that."""


class HLOArgumentError(TypeError):
    """A function of HLO's layer, or of one above, got an argument of a wrong kind."""


class HLOArgumentValueError(ValueError):
    """An argument of the right kind has a value that the function cannot take."""


class HLOArgumentIndexError(HLOArgumentValueError, IndexError):
    """An index that there is not."""


class CustomCallError(ValueError):
    """The record of a custom call lacks something, or does not fit a call."""


class HLORecordError(TypeError):
    """The record of an opcode lacks a part, or contradicts itself."""
