"""Building blocks of neural networks, which NumPy has no functions for."""

from nkipy.core.ops._registry import chapter

__getattr__, __dir__ = chapter(__name__)
