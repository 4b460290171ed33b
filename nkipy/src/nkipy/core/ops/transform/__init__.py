"""Array manipulation: other shapes and orders, joining, splitting, repeating."""

from nkipy.core.ops._registry import chapter

__getattr__, __dir__ = chapter(__name__)
