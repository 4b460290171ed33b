"""The names of Spiky's predecessor, for what is the same: see ``spiky``.

``torch_to_nkipy.backend`` has those of the backend.
"""

from __future__ import annotations

from spiky.initialization import init_nkipy_backend, reset_nkipy_backend
from spiky.kernels import NKIOpRegistry
from spiky.markers import mark_subgraph_identity
from spiky.torch import is_nkipy_backend_initialized

__all__ = [
    "NKIOpRegistry",
    "init_nkipy_backend",
    "is_nkipy_backend_initialized",
    "mark_subgraph_identity",
    "reset_nkipy_backend",
]
__version__ = "0.1.0"
