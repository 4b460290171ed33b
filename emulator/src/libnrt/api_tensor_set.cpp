// Tensor sets.
#include "api.h"
#include "session.h"

using namespace emulator;

NRT_API NRT_STATUS nrt_allocate_tensor_set(nrt_tensor_set_t** set) {
  return api_call("nrt_allocate_tensor_set", [&](Session& session) {
    require(set, "the result's address is NULL");
    *set = session.tensor_sets.insert(std::make_shared<TensorSet>());
    return NRT_SUCCESS;
  });
}

NRT_API void nrt_destroy_tensor_set(nrt_tensor_set_t** set) {
  if (!set || !*set) return;
  api_call_void("nrt_destroy_tensor_set", [&](Session& session) {
    if (session.tensor_sets.take(*set)) return;
    EMULATOR_LOG(nrt, error, "nrt_destroy_tensor_set", "the handle names no set");
  });
  *set = nullptr;
}

NRT_API NRT_STATUS nrt_add_tensor_to_tensor_set(nrt_tensor_set_t* set, const char* name,
                                                nrt_tensor_t* tensor) {
  return api_call("nrt_add_tensor_to_tensor_set", [&](Session& session) {
    require(name, "the name is NULL");
    const auto tensors = session.tensor_sets.get(set);
    tensors->set(name, tensor, session.tensors.get(tensor));
    return NRT_SUCCESS;
  });
}

NRT_API NRT_STATUS nrt_get_tensor_from_tensor_set(nrt_tensor_set_t* set,
                                                  const char* name,
                                                  nrt_tensor_t** tensor) {
  return api_call("nrt_get_tensor_from_tensor_set", [&](Session& session) {
    require(name, "the name is NULL");
    require(tensor, "the result's address is NULL");
    TensorSet::Entry entry;
    if (!session.tensor_sets.get(set)->find(name, &entry)) return NRT_FAILURE;
    if (entry.tensor.expired()) {
      throw StatusError(NRT_INVALID_HANDLE,
                        std::string("the tensor named ") + name + " was freed");
    }
    *tensor = entry.handle;
    return NRT_SUCCESS;
  });
}
