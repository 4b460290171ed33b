"""What reading a NEFF raises."""

from __future__ import annotations


class NeffError(ValueError):
    """A file is no NEFF, a malformed one, or one beyond the limits set."""
