"""Indexing: reads and stores by index, mask or choice."""

from nkipy.core.ops._registry import chapter

__getattr__, __dir__ = chapter(__name__)
