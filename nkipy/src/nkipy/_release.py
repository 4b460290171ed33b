"""Which release this is. A package of another project's has no such module."""

__version__ = "0.1.0"
