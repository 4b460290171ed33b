"""Programs as bytes: what a custom call carries, and what is run again from it.

The bytes are JSON, in which tensors, views, lines and values stand in tables and are
referred to by number, and behind it the values of constants. Nothing in them is code.
What is read may come from anywhere: everything is checked before it is used, and no
more memory is taken than there are bytes. What is wrong is said with its place, such as
``body[3]``, the fourth step of a program.
"""

from __future__ import annotations

from nkipy_nki.wire.framing import is_program
from nkipy_nki.wire.reading import decode
from nkipy_nki.wire.writing import encode

__all__ = ["decode", "encode", "is_program"]
