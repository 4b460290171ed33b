"""What the package exports; its module says how that comes."""

from neff.status import NrtStatus as NrtStatus
from spike._spike import AsyncExecution as AsyncExecution
from spike._spike import ModelTensorInfo as ModelTensorInfo
from spike._spike import NrtError as NrtError
from spike._spike import NrtModel as NrtModel
from spike._spike import NrtTensor as NrtTensor
from spike._spike import SpikeError as SpikeError
from spike._spike import SystemTraceSession as SystemTraceSession
from spike._spike import TensorMetadata as TensorMetadata
from spike.benchmark import BenchmarkResult as BenchmarkResult
from spike.benchmark import SwitchResult as SwitchResult
from spike.benchmark import SwitchTimes as SwitchTimes
from spike.c_interface import get_include as get_include
from spike.device_array import SpikeArray as SpikeArray
from spike.device_array import spike_array as spike_array
from spike.profiler import SpikeProfiler as SpikeProfiler
from spike.spike_model import SpikeModel as SpikeModel
from spike.spike_singleton import configure as configure
from spike.spike_singleton import get_spike_singleton as get_spike_singleton
from spike.spike_singleton import reset as reset
from spike.spike_tensor import SpikeTensor as SpikeTensor

__all__: list[str]
__version__: str
