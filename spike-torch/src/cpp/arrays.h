// spike's device-array protocol, as torch's tensors speak it.
#pragma once

#include <Python.h>

namespace spike_torch {

/// Gives torch.Tensor the protocol's methods. `make(tensor, nrt_tensor, token)` makes a
/// SpikeArray. False, with Python's error, if it cannot be.
bool speak_protocol(PyObject* tensor_type, PyObject* make);

}  // namespace spike_torch
