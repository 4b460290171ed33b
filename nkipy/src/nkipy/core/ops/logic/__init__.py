"""Logic functions: comparison of whole arrays, membership, kinds of arrays."""

from nkipy.core.ops._registry import chapter

__getattr__, __dir__ = chapter(__name__)
