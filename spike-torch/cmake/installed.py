"""Prints torch's version, its CMake folder and spike's headers, as a list of CMake's.

Says in one line what is missing, and how to install it.
"""

import sys

WANTED = (2, 13)
INSTALL = 'uv pip install --torch-backend cpu "torch=={}.{}.*"'.format(*WANTED)


def fail(why: str) -> None:
    sys.exit(f"spike-torch: {why}")


try:
    import torch
except ImportError as error:
    fail(f"torch is needed to build against ({error}): install a CPU build, {INSTALL}")
else:
    version = torch.__version__.split("+")[0]
    if tuple(map(int, version.split(".")[:2])) != WANTED:
        fail(f"it is built for torch {WANTED[0]}.{WANTED[1]}, got {version}: {INSTALL}")
try:
    from spike import get_include
except ImportError as error:
    fail(f"spike is needed to build against ({error}): pip install -e ./spike first")
else:
    folder = f"{torch.utils.cmake_prefix_path}/Torch"
    sys.stdout.write(f"{version};{folder};{get_include()}\n")
