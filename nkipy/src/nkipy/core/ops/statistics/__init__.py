"""Order statistics, averages and correlation."""

from nkipy.core.ops._registry import chapter

__getattr__, __dir__ = chapter(__name__)
