"""Linear algebra: products, norms, and equations."""

from nkipy.core.ops._registry import chapter

__getattr__, __dir__ = chapter(__name__)
