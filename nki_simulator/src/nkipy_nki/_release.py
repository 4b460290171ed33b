"""Which release this is, for who works with the same release alone."""

__version__ = "0.1.0"
