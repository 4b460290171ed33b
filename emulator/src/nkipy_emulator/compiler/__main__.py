"""``python -m nkipy_emulator.compiler``."""

from __future__ import annotations

import sys

from nkipy_emulator.compiler import console_main

sys.exit(console_main())
