"""Logging for the package."""

from __future__ import annotations

import logging

_FORMAT = "%(asctime)s %(name)s %(levelname)s: %(message)s"


def get_logger(name: str = "nkipy", level: int = logging.WARNING) -> logging.Logger:
    """The logger called `name`.

    Args:
        name: a dotted name.
        level: its level, unless one was set before.

    Returns:
        The logger. If no handler would serve it, it gets one that writes to stderr.
    """
    logger = logging.getLogger(name)
    if logger.level == logging.NOTSET:
        logger.setLevel(level)
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(_FORMAT))
        logger.addHandler(handler)
    return logger
