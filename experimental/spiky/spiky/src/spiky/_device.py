"""Registers the torch device, and opens nothing: cores are chosen when that is asked.

Importing ``spike_torch`` by itself would open the runtime, on all cores that it sees,
unless ``import torch`` has registered the device before.
"""

from __future__ import annotations

import sys
import warnings

import torch  # noqa: F401 - unless TORCH_DEVICE_BACKEND_AUTOLOAD is 0, this does it

from spike_torch_autoload import autoload

if "spike_torch" not in sys.modules:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of is raised below
        autoload()

import spike_torch  # noqa: F401
