#include "call_keys.h"

#include <ATen/Context.h>
#include <c10/core/DefaultDtype.h>

#include <bit>

namespace spike_torch {

using c10::IValue;

namespace {

// What follows a word like this is an argument of the kind.
enum Kind : int64_t {
  kNothing,
  kUndefined,
  kTensor,
  kNumber,
  kInt,
  kDouble,
  kBool,
  kInts,
  kDoubles,
  kBools,
  kTensors,
  kOptionalTensors,
  kString,
  kDevice,
  kSame,
};

int64_t bits(double value) { return std::bit_cast<int64_t>(value); }

bool is_row_major(const at::Tensor& tensor) {
  int64_t stride = 1;
  for (int64_t k = tensor.dim(); k-- > 0;) {
    if (tensor.stride(k) != stride) return false;
    stride *= tensor.size(k);
  }
  return true;
}

// Others than a storage's tensors can make it smaller.
bool has_memory(const at::Tensor& tensor) {
  int64_t end = tensor.storage_offset() + 1;
  for (int64_t k = 0; k < tensor.dim(); ++k)
    end += (tensor.size(k) - 1) * tensor.stride(k);
  const c10::Storage& storage = tensor.storage();
  return storage.data() &&
         static_cast<size_t>(end) * tensor.itemsize() <= storage.nbytes();
}

class Keys {
 public:
  explicit Keys(c10::DeviceIndex device) : device_(device) {}

  void add(int64_t word) { call_.key.words.push_back(word); }
  bool add(const IValue& value);
  bool add_sharing(c10::ArrayRef<IValue> arguments, c10::ArrayRef<int> writes);
  KeyedCall take();

 private:
  bool add(const at::Tensor& tensor);
  bool add_number(const at::Tensor& tensor);
  template <class Values>
  void add_all(Kind kind, const Values& values);

  const c10::DeviceIndex device_;
  KeyedCall call_;
};

bool Keys::add_number(const at::Tensor& tensor) {
  const auto type = tensor.scalar_type();
  const void* data = tensor.const_data_ptr();
  add(kNumber);
  add(static_cast<int64_t>(type));
  if (type == at::kDouble) {
    add(bits(*static_cast<const double*>(data)));
  } else if (type == at::kLong) {
    add(*static_cast<const int64_t*>(data));
  } else if (type == at::kBool) {
    add(*static_cast<const bool*>(data));
  } else {
    return false;
  }
  return true;
}

bool Keys::add(const at::Tensor& tensor) {
  if (!tensor.defined()) {
    add(kUndefined);
    return true;
  }
  if (is_number(tensor)) return add_number(tensor);
  if (!tensor.device().is_privateuseone() || tensor.device().index() != device_ ||
      tensor.layout() != at::kStrided || tensor.is_nested() || tensor.is_quantized() ||
      tensor.is_conj() || tensor.is_neg() || tensor.numel() == 0 || !has_memory(tensor))
    return false;
  const bool is_plain = is_row_major(tensor);
  add(kTensor);
  add(static_cast<int64_t>(tensor.scalar_type()) << 16 | tensor.dim() << 1 | is_plain);
  for (const int64_t size : tensor.sizes()) add(size);
  if (!is_plain) {
    for (const int64_t stride : tensor.strides()) add(stride);
  }
  call_.tensors.push_back(tensor);
  return true;
}

template <class Values>
void Keys::add_all(Kind kind, const Values& values) {
  add(kind);
  add(static_cast<int64_t>(values.size()));
  for (const auto value : values) {
    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, double>) {
      add(bits(value));
    } else {
      add(static_cast<int64_t>(value));
    }
  }
}

bool Keys::add(const IValue& value) {
  if (value.isTensor()) return add(value.toTensor());
  if (value.isNone()) {
    add(kNothing);
  } else if (value.isInt()) {
    add(kInt);
    add(value.toInt());
  } else if (value.isDouble()) {
    add(kDouble);
    add(bits(value.toDouble()));
  } else if (value.isBool()) {
    add(kBool);
    add(value.toBool());
  } else if (value.isIntList()) {
    add_all(kInts, value.toIntVector());
  } else if (value.isDoubleList()) {
    add_all(kDoubles, value.toDoubleVector());
  } else if (value.isBoolList()) {
    std::vector<int64_t> all;
    for (const bool one : value.toBoolList()) all.push_back(one);
    add_all(kBools, all);
  } else if (value.isString()) {
    add_all(kString, value.toStringRef());
  } else if (value.isDevice()) {
    add(kDevice);
    return value.toDevice().is_privateuseone();
  } else if (value.isTensorList()) {
    const auto tensors = value.toTensorVector();
    add(kTensors);
    add(static_cast<int64_t>(tensors.size()));
    for (const at::Tensor& tensor : tensors) {
      if (!add(tensor)) return false;
    }
  } else if (value.isOptionalTensorList()) {
    const auto tensors = value.toOptionalTensorVector();
    add(kOptionalTensors);
    add(static_cast<int64_t>(tensors.size()));
    for (const auto& tensor : tensors) {
      if (!add(tensor ? *tensor : at::Tensor())) return false;
    }
  } else {
    return false;
  }
  return true;
}

// Which tensors are those that are written to. One that shares memory with these and is
// another one is what only the CPU tells right from wrong.
bool Keys::add_sharing(c10::ArrayRef<IValue> arguments, c10::ArrayRef<int> writes) {
  for (const int i : writes) {
    const IValue& value = arguments[static_cast<size_t>(i)];
    if (!value.isTensor() || !value.toTensor().defined() || is_number(value.toTensor()))
      return false;
    const at::Tensor& written = value.toTensor();
    for (size_t k = 0; k < call_.tensors.size(); ++k) {
      const at::Tensor& other = call_.tensors[k];
      if (other.is_same(written)) {
        add(kSame);
        add(static_cast<int64_t>(k));
      } else if (other.storage().is_alias_of(written.storage())) {
        return false;
      }
    }
  }
  return true;
}

KeyedCall Keys::take() {
  uint64_t hash = 14695981039346656037u;
  for (const int64_t word : call_.key.words)
    hash = (hash ^ static_cast<uint64_t>(word)) * 1099511628211u;
  call_.key.hash = hash ^ (hash >> 32);
  return std::move(call_);
}

}  // namespace

bool is_number(const at::Tensor& tensor) {
  return tensor.defined() && tensor.device().is_cpu() && tensor.dim() == 0 &&
         tensor.unsafeGetTensorImpl()->is_wrapped_number();
}

std::optional<KeyedCall> key_of(const void* op, c10::DeviceIndex device,
                                c10::ArrayRef<IValue> arguments,
                                c10::ArrayRef<int> writes) {
  Keys keys(device);
  keys.add(static_cast<int64_t>(reinterpret_cast<intptr_t>(op)));
  keys.add(device);
  keys.add(static_cast<int64_t>(c10::get_default_dtype_as_scalartype()) << 1 |
           at::globalContext().deterministicAlgorithms());
  for (const IValue& value : arguments) {
    if (!keys.add(value)) return std::nullopt;
  }
  if (!writes.empty() && !keys.add_sharing(arguments, writes)) return std::nullopt;
  return keys.take();
}

}  // namespace spike_torch
