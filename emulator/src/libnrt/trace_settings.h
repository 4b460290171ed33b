// Settings behind opaque handles: configurations and options of traces and profiles.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "api.h"
#include "handle_table.h"

namespace emulator {

/// Settings that one thread makes and another may read.
template <typename T>
struct Guarded {
  using Settings = T;
  std::mutex mutex;
  T settings;
};

/// The table of all objects of a type, which needs no initialised runtime.
template <typename T>
HandleTable<T>& settings_table() {
  static auto* const instance = new HandleTable<T>;
  return *instance;
}

/// The body of an entry point that makes settings.
template <typename T, typename Handle>
NRT_STATUS allocate_settings(const char* function, Handle** handle) {
  return api_call_any_time(function, [&] {
    require(handle, "the address for the handle is NULL");
    *handle = static_cast<Handle*>(settings_table<T>().insert(std::make_shared<T>()));
    return NRT_SUCCESS;
  });
}

/// The body of an entry point that runs `change(settings)` on what the handle names.
template <typename T, typename Change>
NRT_STATUS edit_settings(const char* function, const void* handle, Change&& change) {
  return api_call_any_time(function, [&] {
    const auto object = settings_table<T>().get(handle);
    std::lock_guard<std::mutex> lock(object->mutex);
    change(object->settings);
    return NRT_SUCCESS;
  });
}

/// The body of an entry point that frees settings; NULL is none.
template <typename T>
NRT_STATUS release_settings(const char* function, const void* handle) {
  return api_call_any_time(function, [&]() -> NRT_STATUS {
    if (handle && !settings_table<T>().take(handle)) return NRT_INVALID_HANDLE;
    return NRT_SUCCESS;
  });
}

/// A copy of the settings, or the defaults for NULL. Throws StatusError.
template <typename T>
typename T::Settings settings_of(const void* handle) {
  if (!handle) return {};
  const auto object = settings_table<T>().get(handle);
  std::lock_guard<std::mutex> lock(object->mutex);
  return object->settings;
}

/// Memory for `count` objects that the caller of the library frees.
template <typename T>
T* allocate_memory(std::size_t count) {
  void* const memory = std::malloc(count * sizeof(T));
  if (!memory) throw std::bad_alloc();
  return static_cast<T*>(memory);
}

/// Frees what give_names() gave: each name, then the array. NULL is none.
inline void free_names(const char** array, std::size_t count) noexcept {
  if (!array) return;
  for (std::size_t i = 0; i < count && array[i]; ++i) {
    std::free(const_cast<char*>(array[i]));
  }
  std::free(array);
}

/// Gives the caller copies of names, each of which is to be freed, as is the array of
/// them. After the last comes a NULL.
inline void give_names(const std::vector<const char*>& names, const char*** array,
                       std::size_t* count) {
  const char** made = allocate_memory<const char*>(names.size() + 1);
  std::fill_n(made, names.size() + 1, nullptr);
  for (std::size_t i = 0; i < names.size(); ++i) {
    made[i] = strdup(names[i]);
    if (made[i]) continue;
    free_names(made, i);
    throw std::bad_alloc();
  }
  *array = made;
  *count = names.size();
}

}  // namespace emulator
