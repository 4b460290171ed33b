"""Ops that combine the elements along axes, all at once or running."""

from nkipy.core.ops._registry import chapter

__getattr__, __dir__ = chapter(__name__)
