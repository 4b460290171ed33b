"""Settings that every test shares.

Hypothesis runs the same few examples each time by default, so that a run says
something about the change and not about luck. ``HYPOTHESIS_PROFILE=ci`` looks further,
still repeatably; ``explore`` looks at random.
"""

from __future__ import annotations

import os

from hypothesis import settings

# Before any test is collected: pytest names spike/tests/test_x.py "spike.tests.test_x",
# and would make an empty module "spike" for it if the package were not there yet.
import spike  # noqa: F401

# No deadline: a first call compiles, later ones do not.
settings.register_profile(
    "default", deadline=None, derandomize=True, max_examples=25, database=None
)
settings.register_profile("ci", settings.get_profile("default"), max_examples=100)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
