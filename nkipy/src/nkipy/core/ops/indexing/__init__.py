"""Indexing: reads and stores by index, mask or choice."""

from nkipy.core.ops._registry import chapter

__getattr__ = chapter(__name__)
