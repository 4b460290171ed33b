"""The package :mod:`neff`, under the name that it has within spike."""

from neff import *  # noqa: F403
from neff import __all__ as __all__
