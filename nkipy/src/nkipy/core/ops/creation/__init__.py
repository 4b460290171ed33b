"""Array creation: from values, ranges and diagonals."""

from nkipy.core.ops._registry import chapter

__getattr__ = chapter(__name__)
