"""Linear algebra: products, norms, and equations."""

from nkipy.core.ops._registry import chapter

__getattr__ = chapter(__name__)
