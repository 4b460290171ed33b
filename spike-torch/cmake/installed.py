"""Prints torch's version, its CMake folder and spike's headers, as a list of CMake's.

Says in one line what is missing, and how to install it.
"""

import sys

(WANTED,) = sys.argv[1:]  # a minor version, such as 2.13
INSTALL = f'uv pip install --torch-backend cpu "torch=={WANTED}.*"'


def fail(why: str) -> None:
    sys.exit(f"spike-torch: {why}")


try:
    import torch
except ImportError as error:
    fail(
        f"torch is needed to build against ({error}): install a CPU build, {INSTALL}; "
        "if there is one, build with --no-build-isolation"
    )
else:
    version = torch.__version__.split("+")[0]
    if not version.startswith(f"{WANTED}."):
        fail(f"it is built for torch {WANTED}, got {version}: {INSTALL}")
try:
    from spike import get_include
except ImportError as error:
    fail(f"spike is needed to build against ({error}): pip install -e ./spike first")
else:
    folder = f"{torch.utils.cmake_prefix_path}/Torch"
    sys.stdout.write(f"{version};{folder};{get_include()}\n")
