// Made from emulator/src/libnrt/include/nrt/nrt.h
// by tools/generate_libnrt_headers.py; not to be edited.

// Start-up, models, tensors, tensor sets, execution and collectives of libnrt's
// interface.
//
// Our own declarations of documented facts. Every core index is that of a logical core,
// counted from 0 within those that are visible to the process.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nrt/nrt_status.h"
#include "nrt/nrt_version.h"

#ifdef __cplusplus
extern "C" {
#endif

/// The version of the interface (not of the library: see nrt_get_version).
#define NRT_MAJOR_VERSION 2
#define NRT_MINOR_VERSION 0

typedef struct nrt_model nrt_model_t;
typedef struct nrt_tensor nrt_tensor_t;
typedef void nrt_tensor_set_t;

/// Which framework the process runs: only a label for tools.
typedef enum {
  NRT_FRAMEWORK_TYPE_INVALID = 0,
  NRT_FRAMEWORK_TYPE_NO_FW = 1,
  NRT_FRAMEWORK_TYPE_TENSORFLOW = 2,
  NRT_FRAMEWORK_TYPE_PYTORCH = 3,
  NRT_FRAMEWORK_TYPE_MXNET = 4,
  NRT_FRAMEWORK_TYPE_PRECHECK = 5,
} nrt_framework_type_t;

typedef enum {
  NRT_INSTANCE_UNKNOWN = 0,
  NRT_INSTANCE_INF1 = 1,
  NRT_INSTANCE_TRN1 = 2,
  NRT_INSTANCE_TRN1N = 3,
  NRT_INSTANCE_INF2 = 4,
  NRT_INSTANCE_TRN2 = 5,
  NRT_INSTANCE_TRN2N = 6,
  NRT_INSTANCE_INF2E = 7,
  NRT_INSTANCE_TRN2P = 8,
  NRT_INSTANCE_TRN2U = 9,
  NRT_INSTANCE_TRN2E = 10,
  NRT_INSTANCE_TRN2EU = 11,
  NRT_INSTANCE_TRN2AC = 12,
  NRT_INSTANCE_TRN2UAC = 13,
  NRT_INSTANCE_TRN3 = 14,
  NRT_INSTANCE_TRN3PDS98 = 15,
} nrt_instance_family_t;

typedef enum {
  NRT_INSTANCE_SIZE_1XL = 0,
  NRT_INSTANCE_SIZE_2XL = 1,
  NRT_INSTANCE_SIZE_4XL = 2,
  NRT_INSTANCE_SIZE_6XL = 3,
  NRT_INSTANCE_SIZE_8XL = 4,
  NRT_INSTANCE_SIZE_24XL = 5,
  NRT_INSTANCE_SIZE_32XL = 6,
  NRT_INSTANCE_SIZE_48XL = 7,
  NRT_INSTANCE_SIZE_3XL = 8,
  NRT_INSTANCE_SIZE_UNKNOWN = 9,
  NRT_INSTANCE_SIZE_NUM,  // how many there are
} nrt_instance_size_t;

typedef struct nrt_instance_info {
  uint32_t family;  // nrt_instance_family_t
  uint32_t size;    // nrt_instance_size_t
  char arch_name[16];
  char device_revision[8];
} nrt_instance_info_t;

typedef struct nrt_vnc_memory_stats {
  size_t bytes_used;
  size_t bytes_limit;
} nrt_vnc_memory_stats_t;

typedef struct {
  struct {
    uint8_t* bin;
    size_t size;
  } iram, dram;
} nrt_ucode_info;

typedef enum nrt_dtype {
  NRT_DTYPE_UNKNOWN = 0x0,
  NRT_DTYPE_INVALID = 0x0,
  NRT_DTYPE_UINT64 = 0x1,
  NRT_DTYPE_INT8 = 0x2,
  NRT_DTYPE_UINT8 = 0x3,
  NRT_DTYPE_INT16 = 0x4,
  NRT_DTYPE_UINT16 = 0x5,
  NRT_DTYPE_BFLOAT16 = 0x6,
  NRT_DTYPE_FLOAT16 = 0x7,
  NRT_DTYPE_INT32 = 0x8,
  NRT_DTYPE_UINT32 = 0x9,
  NRT_DTYPE_FLOAT32 = 0xA,
  NRT_DTYPE_FP32R = 0xB,
  NRT_DTYPE_INT64 = 0xC,
  NRT_DTYPE_FP8_E3 = 0xD,
  NRT_DTYPE_FP8_E4 = 0xE,
  NRT_DTYPE_FP8_E5 = 0xF,
} nrt_dtype_t;

typedef enum {
  NRT_TENSOR_USAGE_INPUT = 0,
  NRT_TENSOR_USAGE_OUTPUT = 1,
} nrt_tensor_usage_t;

#define NRT_TENSOR_NAME_MAX 256

typedef struct {
  char name[NRT_TENSOR_NAME_MAX];
  nrt_tensor_usage_t usage;
  size_t size;
  nrt_dtype_t dtype;
  uint32_t* shape;
  uint32_t ndim;
} nrt_tensor_info_t;

typedef struct {
  uint64_t tensor_count;
  nrt_tensor_info_t tensor_array[];
} nrt_tensor_info_array_t;

typedef struct {
  uint32_t vnc;
} nrt_model_info_t;

typedef enum {
  NRT_TENSOR_PLACEMENT_DEVICE = 0,
  NRT_TENSOR_PLACEMENT_HOST = 1,
  NRT_TENSOR_PLACEMENT_VIRTUAL = 2,
} nrt_tensor_placement_t;

typedef struct nrt_tensor_device_allocation_info {
  uint64_t physical_address;
  size_t size;
  int hbm_index;
} nrt_tensor_device_allocation_info_t;

typedef struct nrt_tensor_batch_op {
  uint64_t offset;
  uint64_t size;
  void* buffer;
} nrt_tensor_batch_op_t;

typedef struct nrt_tensor_batch {
  const nrt_tensor_t* tensor;
  const nrt_tensor_batch_op_t* ops;
  uint32_t num_ops;
} nrt_tensor_batch_t;

typedef struct nrt_cc_comm {
  uint32_t* replica_group;
  uint32_t rank;
  uint32_t rank_n;
  uint32_t ctx_device_id;
  uint32_t ctx_device_count;
  uint32_t vnc;
} nrt_cc_comm_t;

typedef struct nrt_tensor_list {
  nrt_tensor_t** tensors;
  size_t num_tensors;
} nrt_tensor_list_t;

typedef enum nrt_op_type {
  NRT_OP_ADD = 0,
  NRT_OP_FMA = 1,
  NRT_OP_MAX = 2,
  NRT_OP_MIN = 3,
  NRT_OP_INVALID = 0xF,
} nrt_op_type_t;

typedef enum nrt_cc_op_type {
  NRT_CC_ALLGATHER = 0,
  NRT_CC_ALLREDUCE = 1,
  NRT_CC_REDUCESCATTER = 2,
  // By which programs that were built with the emulator's headers know them.
  NRT_CC_OP_ALLGATHER = NRT_CC_ALLGATHER,
  NRT_CC_OP_ALLREDUCE = NRT_CC_ALLREDUCE,
  NRT_CC_OP_REDUCESCATTER = NRT_CC_REDUCESCATTER,
} nrt_cc_op_type_t;

typedef void (*NRT_ASYNC_EXEC_STATUS_CALLBACK)(void* params, uint32_t model_id,
                                               uint32_t vnc, uint64_t job_id,
                                               NRT_STATUS status);

// --- Start-up, topology -----------------------------------------------------------

/// Reads the environment, takes the visible cores for this process alone.
NRT_STATUS nrt_init(nrt_framework_type_t framework, const char* fw_version,
                    const char* fal_version);
/// Frees every tensor and model, gives the cores back.
void nrt_close(void);
/// Fills the first `size` bytes of the record. Works at any time.
NRT_STATUS nrt_get_instance_info(nrt_instance_info_t* info, size_t size);
/// Cores of the instance, whatever the process may see. Work at any time.
NRT_STATUS nrt_get_total_nc_count(uint32_t* count);
NRT_STATUS nrt_get_total_vnc_count(uint32_t* count);
/// Cores that the process may use. Work at any time.
NRT_STATUS nrt_get_visible_nc_count(uint32_t* count);
NRT_STATUS nrt_get_visible_vnc_count(uint32_t* count);
NRT_STATUS nrt_set_pool_eng_ucode(const nrt_ucode_info* ucode);
NRT_STATUS nrt_get_vnc_memory_stats(uint32_t vnc, nrt_vnc_memory_stats_t* stats,
                                    size_t stats_size_in, size_t* stats_size_out);
NRT_STATUS nrt_host_device_id_get(int neuron_dev, uint32_t* host_device_id);
NRT_STATUS nrt_host_device_id_rid_map_get(uint32_t* count, uint32_t* map);
NRT_STATUS nrt_get_hbm_mmap_va(int device_id, int hbm_idx, void** addr, size_t* size);
NRT_STATUS nrt_get_dmabuf_fd(uint64_t va, uint64_t size, int* fd);
/// As nrt_get_dmabuf_fd, of an address that lies `*offset` bytes into what `*fd` is of.
NRT_STATUS nrt_get_dmabuf_fd_v2(uint64_t va, uint64_t size, int* fd, uint64_t* offset);
NRT_STATUS nrt_get_attached_efa_bdf(const void* va, char* bdf, size_t* len);

// --- Models -----------------------------------------------------------------------

NRT_STATUS nrt_load(const void* neff_bytes, size_t size, int32_t vnc, int32_t vnc_count,
                    nrt_model_t** model);
NRT_STATUS nrt_load_collectives(const void* neff_bytes, size_t size, int32_t vnc,
                                int32_t vnc_count, uint32_t ctx_device_id,
                                uint32_t ctx_device_count, nrt_model_t** model);
NRT_STATUS nrt_unload(nrt_model_t* model);
NRT_STATUS nrt_get_model_tensor_info(nrt_model_t* model,
                                     nrt_tensor_info_array_t** info);
NRT_STATUS nrt_free_model_tensor_info(nrt_tensor_info_array_t* info);
NRT_STATUS nrt_get_model_info(const nrt_model_t* model, nrt_model_info_t* info,
                              size_t info_size_in, size_t* info_size_out);
NRT_STATUS nrt_get_model_instance_count(nrt_model_t* model, uint32_t* count);
NRT_STATUS nrt_get_model_nc_count(const nrt_model_t* model, uint32_t* count);
NRT_STATUS nrt_get_model_vnc_count(const nrt_model_t* model, uint32_t* count);

// --- Tensors ----------------------------------------------------------------------

/// `vnc`: the core whose HBM holds it; -1 is allowed for tensors on the host.
NRT_STATUS nrt_tensor_allocate(nrt_tensor_placement_t placement, int vnc, size_t size,
                               const char* name, nrt_tensor_t** tensor);
/// A tensor without storage: attach a buffer to use it.
NRT_STATUS nrt_tensor_allocate_empty(const char* name, nrt_tensor_t** tensor);
/// A part of `source`, whose storage it shares and keeps alive.
NRT_STATUS nrt_tensor_allocate_slice(const nrt_tensor_t* source, size_t offset,
                                     size_t size, const char* name,
                                     nrt_tensor_t** slice);
/// Replaces the tensor's storage by the caller's, who keeps it alive and frees it.
NRT_STATUS nrt_tensor_attach_buffer(nrt_tensor_t* tensor, void* buffer, size_t size);
void nrt_tensor_free(nrt_tensor_t** tensor);
NRT_STATUS nrt_tensor_read(const nrt_tensor_t* tensor, void* buffer, size_t offset,
                           size_t size);
NRT_STATUS nrt_tensor_write(nrt_tensor_t* tensor, const void* buffer, size_t offset,
                            size_t size);
NRT_STATUS nrt_tensor_read_batch(const nrt_tensor_batch_t* batches, uint64_t count,
                                 bool unsafe);
NRT_STATUS nrt_tensor_write_batch(const nrt_tensor_batch_t* batches, uint64_t count,
                                  bool unsafe);
NRT_STATUS nrt_tensor_copy(const nrt_tensor_t* source, size_t source_offset,
                           nrt_tensor_t* destination, size_t destination_offset,
                           size_t size);
NRT_STATUS nrt_tensor_memset(nrt_tensor_t* tensor, uint64_t offset, int value,
                             size_t size);
size_t nrt_tensor_get_size(const nrt_tensor_t* tensor);
/// The address of the tensor's bytes, or NULL.
void* nrt_tensor_get_va(const nrt_tensor_t* tensor);
NRT_STATUS nrt_tensor_get_device_allocation_info(
    const nrt_tensor_t* tensor, nrt_tensor_device_allocation_info_t* info);
/// The tensor's core; -1 for one on the host.
NRT_STATUS nrt_tensor_get_lnc_index(const nrt_tensor_t* tensor, int* lnc);
/// Waits until executions have written the tensor `expected` times. A negative timeout
/// waits for ever.
NRT_STATUS nrt_tensor_check_output_completion(const nrt_tensor_t* tensor,
                                              int64_t timeout_us, uint64_t expected);
NRT_STATUS nrt_tensor_reset_output_completion(nrt_tensor_t* tensor);
/// `destination` lies in memory that nrt_tensor_get_va gave.
NRT_STATUS nrt_memcpy_to_device(void* destination, const void* source, size_t size);

// --- Tensor sets ------------------------------------------------------------------

NRT_STATUS nrt_allocate_tensor_set(nrt_tensor_set_t** set);
void nrt_destroy_tensor_set(nrt_tensor_set_t** set);
NRT_STATUS nrt_add_tensor_to_tensor_set(nrt_tensor_set_t* set, const char* name,
                                        nrt_tensor_t* tensor);
NRT_STATUS nrt_get_tensor_from_tensor_set(nrt_tensor_set_t* set, const char* name,
                                          nrt_tensor_t** tensor);

// --- Execution --------------------------------------------------------------------

NRT_STATUS nrt_execute(nrt_model_t* model, const nrt_tensor_set_t* inputs,
                       nrt_tensor_set_t* outputs);
NRT_STATUS nrt_execute_repeat(nrt_model_t* model, const nrt_tensor_set_t* inputs,
                              nrt_tensor_set_t* outputs, int repeat_count);
NRT_STATUS nrt_register_async_exec_callback(NRT_ASYNC_EXEC_STATUS_CALLBACK callback,
                                            void* params);
NRT_STATUS nrt_async_drain_queued_execs(int32_t vnc);

// --- Collectives of the host ------------------------------------------------------

NRT_STATUS nrt_build_global_comm(int32_t vnc, uint32_t g_device_id,
                                 uint32_t g_device_count);
NRT_STATUS nrt_cc_global_comm_init(uint32_t vnc, uint32_t g_device_id,
                                   uint32_t g_device_count);
NRT_STATUS nrt_barrier(int32_t vnc, uint32_t g_device_id, uint32_t g_device_count);
NRT_STATUS nrt_all_gather(int32_t vnc, uint32_t g_device_id, uint32_t g_device_count,
                          uint32_t rank_input_size, void* input, void* output);
void* nrt_get_libnccl_net(int* error, char* message, size_t size);

#ifdef __cplusplus
}
#endif
