"""What the examples with torch share: they say in one line that it is not there."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec


def need_torch(command: str) -> None:
    """Register the torch device, and take the cores that it is over.

    Args:
        command: how the example is called, for errors.

    Raises:
        SystemExit: torch or its device is not installed, or there is no core to take.
    """
    missing = [name for name in ("torch", "spike_torch") if find_spec(name) is None]
    if missing:
        raise SystemExit(
            f"{command}: error: there is no {' and no '.join(missing)} here; `python3 "
            "run.py torch` in the clone installs both (docs/torch/index.md has more)"
        )
    try:
        import_module("spike_torch")
    except (ImportError, RuntimeError) as error:
        raise SystemExit(f"{command}: error: {error}") from error


def need_spiky(command: str) -> None:
    """Set up the backend of torch.compile, where transformers is there as well.

    Raises:
        SystemExit: one of them, torch or its device is missing.
    """
    need_torch(command)
    missing = [name for name in ("spiky", "transformers") if find_spec(name) is None]
    if missing:
        raise SystemExit(
            f"{command}: error: there is no {' and no '.join(missing)} here; `python3 "
            "run.py torch` in the clone installs both (docs/torch/index.md has more)"
        )
    import_module("spiky.torch").init_nkipy_backend()


def at_least(least: int) -> Callable[[str], int]:
    """What reads a whole number of a command's arguments, of up to 63 bits."""

    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) < 1 << 63:
            raise argparse.ArgumentTypeError(f"{text} is no number from {least} on")
        return int(text)

    return number
