"""Convolutions: of images and volumes as in neural networks, and NumPy's in 1-D."""

from nkipy.core.ops._registry import chapter

__getattr__, __dir__ = chapter(__name__)
