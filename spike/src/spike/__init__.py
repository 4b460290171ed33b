"""Python runtime layer over the AWS Neuron runtime library.

Only the build is here so far: the C++ extension compiles, loads and knows its version.
Tensors, models and execution come next; nothing in this package runs a kernel yet.
"""

from spike._spike import __version__

__all__ = ["__version__"]
