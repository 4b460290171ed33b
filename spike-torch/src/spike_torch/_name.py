"""What the device is called."""

from __future__ import annotations

NAME = "nkipy"
