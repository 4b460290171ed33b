"""The extension is the one that this version of the package was built with."""

from importlib.metadata import version
from importlib.util import find_spec

import spike


def test_extension_reports_the_version_of_the_distribution() -> None:
    assert spike.__version__ == version("spike")


def test_extension_is_compiled() -> None:
    spec = find_spec("spike._spike")
    assert spec is not None and spec.origin is not None
    assert spec.origin.endswith(".so")
