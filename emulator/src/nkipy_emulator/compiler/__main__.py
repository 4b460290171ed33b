"""``python -m nkipy_emulator.compiler``."""

from __future__ import annotations

import sys

from nkipy_emulator.compiler import main

sys.exit(main())
