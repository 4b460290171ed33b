/* spike's runtime for other extension modules, in C.
 *
 * A process has one runtime, which Python and all extensions share. Get the functions
 * with spike_import() once, with Python's lock (GIL) held; they stay valid. Compile
 * with the folder that spike.get_include() names; link with nothing.
 *
 *   const SpikeApi* spike = spike_import();
 *   SpikeTensor* tensor;
 *   if (!spike) return NULL;  // the Python error is set
 *   if (spike->tensor_allocate(1024, 0, "mine", &tensor) != SPIKE_NRT_SUCCESS)
 *     return PyErr_Format(PyExc_RuntimeError, "%s", spike->last_error());
 *   spike->tensor_release(tensor);
 *
 * Any thread may call any function, with the GIL or without. One that opens the
 * runtime or has to do with Python takes the GIL; what may take long gives it up. No
 * function throws. Sizes and offsets are in bytes and checked.
 *
 * Handles are shares: memory is freed, and a model unloaded, with the last share, be it
 * a handle here or an object of Python's, and after running calls. Each handle is to be
 * released once, at any time and in any order, also after the runtime was closed. Null
 * may be released.
 */
#ifndef SPIKE_C_H
#define SPIKE_C_H

#include <stddef.h>
#include <stdint.h>

#include "spike_statuses.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when what is there changes. What is added goes to the end of SpikeApi, whose
 * size then tells. */
#define SPIKE_API_VERSION 1
#define SPIKE_API_CAPSULE "spike._spike._C_API"

/* What functions return: libnrt's statuses as SPIKE_NRT_SUCCESS (0) and so on, and
 * negative ones of spike's own. */
enum SpikeStatus {
#define SPIKE_STATUS(name, number) SPIKE_##name = number,
  SPIKE_NRT_STATUSES(SPIKE_STATUS)
#undef SPIKE_STATUS
      SPIKE_ERROR = -1,   /* what spike itself refuses: last_error() says why */
  SPIKE_NOT_DONE = -2,    /* the time to wait is over */
  SPIKE_INTERRUPTED = -3, /* a signal's handler raised: the Python error is set */
};

/* Of the process's runtime. One of the parent process cannot be used or replaced. */
enum SpikeState { SPIKE_CLOSED = 0, SPIKE_OPEN = 1, SPIKE_FORKED = 2 };

typedef struct SpikeTensor SpikeTensor;
typedef struct SpikeModel SpikeModel;
typedef struct SpikeCall SpikeCall;
typedef struct SpikeExecution SpikeExecution;
struct _object; /* Python's PyObject */

typedef struct {
  size_t size;
  int core_id;
  int is_freed;     /* or its runtime is closed */
  uint64_t address; /* in the device's memory; 0 once freed */
} SpikeTensorInfo;

typedef struct {
  uint32_t version; /* SPIKE_API_VERSION */
  size_t size;      /* sizeof(SpikeApi) when spike was built */

  /* Why the last function that failed in this thread did; valid until the next one. */
  const char* (*last_error)(void);
  /* "NRT_RESOURCE" of libnrt's 4, "SPIKE_ERROR" of -1; "UNKNOWN STATUS". */
  const char* (*status_name)(int status);

  /* Opens the runtime if none is open, as allocating and loading do by themselves. */
  int (*open)(void);
  /* Closes it after running calls: tensors and models become invalid. */
  int (*close)(void);
  enum SpikeState (*state)(void);
  /* Cores that this process may use; opens no runtime. */
  int (*core_count)(uint32_t* count);
  /* Bytes used, and bytes that there are, in a core's memory. */
  int (*memory_stats)(uint32_t core_id, size_t* used, size_t* limit);

  /* The name is for messages and may be null. */
  int (*tensor_allocate)(size_t size, int core_id, const char* name, SpikeTensor** out);
  /* A tensor on a part of the memory, which it keeps. Size 0: up to the end. Nothing is
   * no part: SPIKE_ERROR. */
  int (*tensor_slice)(const SpikeTensor* source, size_t offset, size_t size,
                      SpikeTensor** out);
  void (*tensor_release)(SpikeTensor* tensor);
  int (*tensor_info)(const SpikeTensor* tensor, SpikeTensorInfo* info);
  int (*tensor_write)(SpikeTensor* tensor, size_t offset, const void* data,
                      size_t size);
  int (*tensor_read)(const SpikeTensor* tensor, size_t offset, void* data, size_t size);
  /* Size 0: up to the end. */
  int (*tensor_fill)(SpikeTensor* tensor, size_t offset, int byte, size_t size);
  /* On the device, or through the host if they are on different cores. Size 0: up to
   * the end of the source. */
  int (*tensor_copy)(const SpikeTensor* source, size_t source_offset,
                     SpikeTensor* target, size_t offset, size_t size);
  /* A share of the memory of an NrtTensor. */
  int (*tensor_from_python)(struct _object* nrt_tensor, SpikeTensor** out);
  /* An NrtTensor with a share of its own: a new reference. */
  int (*tensor_to_python)(const SpikeTensor* tensor, struct _object** out);

  /* On core -1: the first free one. is_collective: as rank rank_id of world_size, which
   * counts from 0. */
  int (*model_load)(const char* neff_file, int core_id, int is_collective,
                    uint32_t rank_id, uint32_t world_size, SpikeModel** out);
  /* A share of an NrtModel. */
  int (*model_from_python)(struct _object* nrt_model, SpikeModel** out);
  void (*model_release)(SpikeModel* model);

  /* Makes a call ready that is to be executed often. Refuses what is gone, tensors on
   * another core than the model, and outputs that overlap. It keeps neither model nor
   * tensors: executing it fails once one of them is gone. */
  int (*call_prepare)(const SpikeModel* model, size_t input_count,
                      const char* const* input_names, SpikeTensor* const* inputs,
                      size_t output_count, const char* const* output_names,
                      SpikeTensor* const* outputs, SpikeCall** out);
  int (*call_execute)(const SpikeCall* call);
  /* Starts it. Executions on a core run in the order of submission; each keeps what it
   * needs until it is done, also if its handle is released. */
  int (*call_submit)(const SpikeCall* call, SpikeExecution** out);
  void (*call_release)(SpikeCall* call);
  /* Waits for so long, for ever if it is negative, not at all if it is 0. Returns what
   * the execution returned, or SPIKE_NOT_DONE. With the GIL, which is given up, signal
   * handlers run meanwhile: if one raises, SPIKE_INTERRUPTED. The execution goes on. */
  int (*execution_wait)(SpikeExecution* execution, int64_t milliseconds);
  void (*execution_release)(SpikeExecution* execution);

  /* Whether the host can read and write the device's memory by its address, as the
   * emulator's. Opens no runtime. */
  int (*memory_is_host)(int* is_host);
  /* Keeps the tensor's runtime from closing until tensor_leave, for as long as an
   * access by address takes. Fails if the tensor is no more or its runtime closed. */
  int (*tensor_enter)(const SpikeTensor* tensor);
  /* Only after tensor_enter, by any thread. */
  void (*tensor_leave)(const SpikeTensor* tensor);

  /* A tensor on memory of the host's, which the caller keeps for as long as it is used,
   * for a core that can reach it: memory_is_host. */
  int (*tensor_attach)(void* data, size_t size, int core_id, SpikeTensor** out);
} SpikeApi;

#ifdef Py_PYTHON_H
/* The functions; null with a Python error if spike is missing or too old. */
static inline const SpikeApi* spike_import(void) {
  PyObject* module = PyImport_ImportModule("spike._spike");
  const SpikeApi* api =
      module ? (const SpikeApi*)PyCapsule_Import(SPIKE_API_CAPSULE, 0) : NULL;
  Py_XDECREF(module);
  if (!api) return NULL;
  if (api->version == SPIKE_API_VERSION && api->size >= sizeof(SpikeApi)) return api;
  PyErr_Format(PyExc_ImportError,
               "spike has version %u of its C interface, of %zu bytes; this module was "
               "built for version %d, of %zu: build it again, or install another spike",
               (unsigned)api->version, api->size, SPIKE_API_VERSION, sizeof(SpikeApi));
  return NULL;
}
#endif

#ifdef __cplusplus
}
#endif
#endif
