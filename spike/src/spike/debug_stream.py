"""Prints what kernels print on the cores (``device_print``), from libnrt's streams.

With `NEURON_RT_DEBUG_OUTPUT_DIR` set, each tensor becomes files, too.
"""

from __future__ import annotations

import ctypes
import os
import select
import sys
import threading

from spike._spike import library_handle
from spike.debug_tensors import DebugTensor

DIRECTORY = "NEURON_RT_DEBUG_OUTPUT_DIR"


class DebugStreams(threading.Thread):
    """A client for the streams of a runtime's cores: a thread, once there is one."""

    def __init__(self) -> None:
        super().__init__(name="spike-debug-streams", daemon=True)
        self._cores: set[int] = set()
        self._process, self._end, self._ready = os.getpid(), -1, select.epoll()

    def connect(self, core: int) -> None:
        """Print what is printed on a core from now on.

        Of a device that is no emulated one, only if the directory for it is set.
        """
        self._nrt = nrt = ctypes.CDLL("libnrt", handle=library_handle())
        is_emulated = hasattr(nrt, "nkipy_emulator_debug_tensor")
        is_wanted = is_emulated or DIRECTORY in os.environ
        if core in self._cores or self._process != os.getpid() or not is_wanted:
            return
        self._cores.add(core)
        stream = ctypes.c_int()
        if nrt.nrt_debug_client_connect(core, ctypes.byref(stream)) == 0:
            self._ready.register(stream.value, select.EPOLLIN)
        if not self.is_alive():
            self._end = os.eventfd(0)
            self._ready.register(self._end, select.EPOLLIN)
            self.start()

    def run(self) -> None:
        while (ready := {stream for stream, _ in self._ready.poll()}) != {self._end}:
            for stream in ready - {self._end}:
                self._show(stream)

    def _show(self, stream: int) -> None:
        event, payload = (ctypes.c_uint64 * 8)(), ctypes.c_void_p()  # size and others
        read = self._nrt.nrt_debug_client_read_one_event
        if read(stream, event, ctypes.byref(payload)) or not payload.value:
            return self._ready.unregister(stream)
        tensor = DebugTensor.from_payload(ctypes.string_at(payload.value, event[0]))
        ctypes.CDLL(None).free(payload)
        (sys.stderr if tensor.is_error else sys.stdout).write(str(tensor))
        if directory := os.environ.get(DIRECTORY):
            tensor.save(directory)

    def stop(self) -> None:
        """Print what is left. To be called before the runtime closes."""
        process, self._process = self._process, 0  # nobody's: it connects to no more
        if process == os.getpid() and self.is_alive():
            os.eventfd_write(self._end, 1)
            self.join(30)  # seconds, which is ample for what is left
            os.close(self._end)
