"""Lets ``import nki`` and ``import neuronxcc`` reach ours where the vendor has none.

Every Python that starts imports this module: it imports nothing before it must.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__version__ = "0.1.0"
__nkipy_internal__ = True  # see nkipy.core.roles

#: The vendor's names, and what stands for them here.
STANDS_FOR = {"nki": "nkipy_nki", "neuronxcc": "nkipy_nki.neuronxcc"}


class NamesFinder:
    """Finds ours under the vendor's names, and nothing else."""

    def find_spec(
        self,
        fullname: str,
        path: "Sequence[str] | None" = None,
        target: "ModuleType | None" = None,
    ) -> "ModuleSpec | None":
        """As an entry of ``sys.meta_path`` is asked; None for all other names."""
        if fullname.partition(".")[0] not in STANDS_FOR:
            return None
        from nkipy_nki_names.finding import spec_of

        return spec_of(fullname)


FINDER = NamesFinder()


def install() -> None:
    """Ask our finder first, for a folder of the name would end the search.

    Python calls this at its start; again, or by hand, it does no harm.
    """
    if FINDER not in sys.meta_path:
        sys.meta_path.insert(0, FINDER)
