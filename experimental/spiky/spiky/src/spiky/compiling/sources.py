"""Where in the user's own files a node comes from."""

from __future__ import annotations

import re
from typing import Any

from torch import fx

from nkipy.hlo.instruction import SourceLocation

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
#: Where torch's own code is, as its files' names end.
_OWN = ("/torch/", "/transformers/")


def location_of(node: fx.Node) -> SourceLocation | None:
    """The file and line that called for a node, as torch has kept it."""
    frames = _FRAME.findall(node.stack_trace or "")
    if not frames:
        return None
    own = [f for f in frames if not any(part in f[0] for part in _OWN)]
    file, line = (own or frames)[-1]
    return SourceLocation(file, int(line))


def told(error: Any) -> str:
    """What an error of a lowering says, with the operator and the user's line."""
    node = getattr(error, "node", None)
    if node is None:
        return str(error)
    location = location_of(node)
    where = f" ({location})" if location else ""
    return f"{node.target} {error}{where}"
