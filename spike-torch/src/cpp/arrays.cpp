// spike's device-array protocol, as torch's tensors speak it: what kernels ask a tensor
// for, and tell it.

#include <torch/csrc/autograd/python_variable.h>
// Comes first, as Python's own headers are to.
#include <ATen/EmptyTensor.h>
#include <c10/core/GradMode.h>
#include <c10/util/SmallVector.h>

#include <memory>
#include <unordered_map>

#include "arrays.h"
#include "memory.h"
#include "runtime.h"

namespace spike_torch {
namespace {

/// What a tensor has answered, and what that was true of. All under Python's lock.
struct Answer {
  PyObject* reference;  // weak: of the tensor, which takes its answer with it
  PyObject* array;      // a SpikeArray
  SpikeTensor* part;    // the memory of the elements
  const c10::StorageImpl* storage;
  const void* data;
  at::ScalarType dtype;
  c10::SmallVector<int64_t, 5> sizes, strides;
};

std::unordered_map<PyObject*, Answer>& answers() {
  static auto* all = new std::unordered_map<PyObject*, Answer>;
  return *all;
}

/// Makes a SpikeArray of a tensor, its NrtTensor and a token.
PyObject* make_array = nullptr;
uint64_t tokens = 0;

// What this runs of Python's may ask again: the table has to be right before.
void forget(PyObject* tensor) {
  const auto found = answers().find(tensor);
  if (found == answers().end()) return;
  const Answer gone = std::move(found->second);
  answers().erase(found);
  Py_DECREF(gone.reference);
  Py_DECREF(gone.array);
  spike().tensor_release(gone.part);
}

// `address` is of a tensor that is no more, and whose answer has `reference`.
PyObject* on_end(PyObject* address, PyObject* reference) {
  auto* tensor = static_cast<PyObject*>(PyLong_AsVoidPtr(address));
  const auto found = answers().find(tensor);
  if (found != answers().end() && found->second.reference == reference) forget(tensor);
  Py_RETURN_NONE;
}
PyMethodDef kOnEnd = {"forget", on_end, METH_O, nullptr};

const void* data_of(const at::Tensor& tensor) {
  return tensor.unsafeGetTensorImpl()->unsafe_storage().data_ptr().get();
}

/// Whether `known` is what the tensor would answer now.
bool holds(const Answer& known, const at::Tensor& tensor) {
  const auto* impl = tensor.unsafeGetTensorImpl();
  const auto offset = static_cast<size_t>(impl->storage_offset()) * impl->itemsize();
  if (known.storage != impl->unsafe_storage().unsafeGetStorageImpl() ||
      known.data != static_cast<const char*>(data_of(tensor)) + offset ||
      known.dtype != tensor.scalar_type() || impl->sizes() != known.sizes ||
      impl->strides() != known.strides)
    return false;
  if (spike().tensor_enter(known.part) != SPIKE_NRT_SUCCESS) return false;
  spike().tensor_leave(known.part);
  return true;
}

// A tensor that stands for others, or for none, has no elements in memory.
bool has_memory(const at::Tensor& tensor) {
  return tensor.layout() == at::kStrided && tensor.has_storage() &&
         tensor.unsafeGetTensorImpl()->unsafe_storage().device_type() ==
             c10::DeviceType::PrivateUse1 &&
         (tensor.numel() == 0 || data_of(tensor));
}

void require_usable(const at::Tensor& tensor, const char* type) {
  require_not_forked();
  TORCH_CHECK(has_memory(tensor), "a ", type, " on ", tensor.device(),
              " that is sparse, fake, or of a function that is traced or transformed "
              "(vmap, grad, functionalize) has no memory that a kernel could use: call "
              "the kernel in a torch.library.custom_op");
  TORCH_CHECK(!(at::GradMode::is_enabled() && tensor.requires_grad()),
              "Can't use a Tensor that requires grad in a kernel, whose results have "
              "no gradients. Use tensor.detach() instead.");
  TORCH_CHECK(!tensor.is_conj(),
              "Can't use a Tensor that has conjugate bit set in a kernel. Use "
              "tensor.resolve_conj() instead.");
  TORCH_CHECK(!tensor.is_neg(),
              "Can't use a Tensor that has negative bit set in a kernel. Use "
              "tensor.resolve_neg() instead.");
}

struct Unreferenced {
  void operator()(PyObject* object) const { Py_DECREF(object); }
};
using Reference = std::unique_ptr<PyObject, Unreferenced>;

struct Released {
  void operator()(SpikeTensor* tensor) const { spike().tensor_release(tensor); }
};
using Share = std::unique_ptr<SpikeTensor, Released>;

/// The memory from the first element to the last; one byte if there are no elements.
Share part_of(const at::Tensor& tensor) {
  SpikeTensor* part = nullptr;
  if (tensor.numel() == 0) {
    check(spike().tensor_allocate(1, tensor.get_device(), "torch", &part),
          "name a tensor's memory");
    return Share(part);
  }
  const Memory memory = memory_of(tensor);
  const size_t itemsize = tensor.itemsize();
  const size_t offset = static_cast<size_t>(tensor.storage_offset()) * itemsize;
  const size_t size =
      at::detail::computeStorageNbytes(tensor.sizes(), tensor.strides(), itemsize, 0);
  const size_t stored = std::min(tensor.storage().nbytes(), memory.size);
  TORCH_CHECK(offset <= stored && size <= stored - offset, "a tensor of shape ",
              tensor.sizes(), " has ", offset + size,
              " bytes with what is before it, and its storage ", stored);
  check(spike().tensor_slice(memory.tensor, memory.offset + offset, size, &part),
        "name a tensor's memory");
  return Share(part);
}

PyObject* answer_anew(PyObject* self, const at::Tensor& tensor) {
  forget(self);
  Share part = part_of(tensor);
  PyObject* nrt_tensor = nullptr;
  check(spike().tensor_to_python(part.get(), &nrt_tensor), "name a tensor's memory");
  Reference array(PyObject_CallFunction(make_array, "ONK", self, nrt_tensor, ++tokens));
  if (!array) return nullptr;
  const Reference address(PyLong_FromVoidPtr(self));
  if (!address) return nullptr;
  const Reference callback(PyCFunction_New(&kOnEnd, address.get()));
  if (!callback) return nullptr;
  Reference reference(PyWeakref_NewRef(self, callback.get()));
  if (!reference) return nullptr;
  forget(self);  // another thread may have been here
  const auto* impl = tensor.unsafeGetTensorImpl();
  const auto offset = static_cast<size_t>(impl->storage_offset()) * impl->itemsize();
  Answer& made = answers()[self];
  made.reference = reference.release();
  made.array = Py_NewRef(array.get());  // forgotten or not, the caller has one
  made.part = part.release();
  made.storage = impl->unsafe_storage().unsafeGetStorageImpl();
  made.data = static_cast<const char*>(data_of(tensor)) + offset;
  made.dtype = tensor.scalar_type();
  made.sizes.assign(impl->sizes().begin(), impl->sizes().end());
  made.strides.assign(impl->strides().begin(), impl->strides().end());
  return array.release();
}

PyObject* fail(PyObject* type, const c10::Error& error) {
  PyErr_SetString(type, error.what_without_backtrace());
  return nullptr;
}

/// Does something with a tensor; what C++ throws is Python's exception.
template <class Act>
PyObject* with_tensor(PyObject* self, Act act) {
  try {
    return act(THPVariable_Unpack(self));
  } catch (const c10::NotImplementedError& error) {
    return fail(PyExc_NotImplementedError, error);
  } catch (const c10::Error& error) {
    return fail(PyExc_RuntimeError, error);
  } catch (const std::exception& error) {  // or Python's, of a subclass's methods
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_RuntimeError, error.what());
    return nullptr;
  }
}

PyObject* spike_array(PyObject* self, PyObject*) {
  return with_tensor(self, [self](const at::Tensor& tensor) -> PyObject* {
    if (!tensor.defined() || !tensor.device().is_privateuseone()) Py_RETURN_NONE;
    require_usable(tensor, Py_TYPE(self)->tp_name);
    const auto found = answers().find(self);
    if (found != answers().end() && holds(found->second, tensor))
      return Py_NewRef(found->second.array);
    return answer_anew(self, tensor);
  });
}

PyObject* spike_written(PyObject* self, PyObject*) {
  return with_tensor(self, [](const at::Tensor& tensor) -> PyObject* {
    // Autograd saves no tensor of an inference mode.
    if (tensor.defined() && !tensor.is_inference())
      tensor.unsafeGetTensorImpl()->bump_version();
    Py_RETURN_NONE;
  });
}

PyObject* spike_keep(PyObject* self, PyObject*) {
  return with_tensor(self, [](const at::Tensor& tensor) -> PyObject* {
    // As of those whose memory NumPy shares: others have its address.
    tensor.storage().unsafeGetStorageImpl()->set_resizable(false);
    Py_RETURN_NONE;
  });
}

PyMethodDef kMethods[] = {
    {"__spike_array__", spike_array, METH_NOARGS,
     "Where it lies on a core; None if it is on no core. See spike.device_array."},
    {"__spike_written__", spike_written, METH_NOARGS,
     "A kernel has written into it: to autograd, it has changed in place."},
    {"__spike_keep__", spike_keep, METH_NOARGS,
     "Its storage stays where it is: another object is on its memory."},
};

}  // namespace

bool speak_protocol(PyObject* tensor_type, PyObject* make) {
  make_array = Py_NewRef(make);
  for (PyMethodDef& method : kMethods) {
    const Reference made(
        PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(tensor_type), &method));
    if (!made || PyObject_SetAttrString(tensor_type, method.ml_name, made.get()) != 0)
      return false;
  }
  return true;
}

}  // namespace spike_torch
