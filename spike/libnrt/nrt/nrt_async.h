// Made from emulator/src/libnrt/include/nrt/nrt_async.h
// by tools/generate_libnrt_headers.py; not to be edited.

// Explicit asynchronous requests, as of NRT_3.0.0.
//
// A request belongs to a queue of an execution unit of a core; each queue is first in,
// first out. `*status` is written when the request completes and must outlive it.
#pragma once

#include "nrt/nrt.h"

#ifdef __cplusplus
extern "C" {
#endif

/// 16 bits that name the execution unit and queue, then 48 bits that count.
typedef uint64_t nrta_seq_t;
/// The first 16 bits of one.
typedef uint16_t nrta_xu_id_t;

#define NRTA_SEQ_NUM_BITS 48
#define NRTA_SEQ_NUM_MAX ((UINT64_C(1) << NRTA_SEQ_NUM_BITS) - 1)

typedef enum {
  NRTA_XU_TENSOR_OP = 0,
  NRTA_XU_COMPUTE = 1,
  NRTA_XU_COLLECTIVES = 2,
  NRTA_XU_TYPE_NUM = 3,
} nrta_xu_t;

typedef struct nrt_cc_context nrt_cc_context_t;

NRT_STATUS nrta_tensor_write(nrt_tensor_t* tensor, const void* buffer, uint64_t offset,
                             uint64_t size, int lnc, int queue, NRT_STATUS* status,
                             nrta_seq_t* sequence);
NRT_STATUS nrta_tensor_read(void* buffer, nrt_tensor_t* tensor, uint64_t offset,
                            uint64_t size, int lnc, int queue, NRT_STATUS* status,
                            nrta_seq_t* sequence);
NRT_STATUS nrta_tensor_copy(nrt_tensor_t* source, uint64_t source_offset,
                            nrt_tensor_t* destination, uint64_t destination_offset,
                            uint64_t size, int lnc, int queue, NRT_STATUS* status,
                            nrta_seq_t* sequence);
/// `queue` must be 0.
NRT_STATUS nrta_execute_schedule(nrt_model_t* model, const nrt_tensor_set_t* inputs,
                                 nrt_tensor_set_t* outputs, int queue,
                                 NRT_STATUS* status, nrta_seq_t* sequence);
NRT_STATUS nrta_cc_prepare(nrt_cc_comm_t* comm, nrt_tensor_list_t* inputs,
                           nrt_tensor_list_t* outputs, nrt_dtype_t dtype,
                           nrt_op_type_t op, nrt_cc_op_type_t cc_op,
                           nrt_cc_context_t** context);
NRT_STATUS nrta_cc_schedule(nrt_cc_context_t** context, int queue, NRT_STATUS* status,
                            nrta_seq_t* sequence);
/// NRT_INVALID for a sequence that was never given out.
NRT_STATUS nrta_is_completed(nrta_seq_t sequence, bool* completed);
/// The last request of the queue that has completed.
NRT_STATUS nrta_get_sequence(uint32_t lnc, nrta_xu_t xu, int queue,
                             nrta_seq_t* sequence);
/// Signals an eventfd once the request is complete; -1 takes the registration back.
NRT_STATUS nrta_event_register_seq_id_completion(nrta_seq_t sequence, int event_fd);
/// Signals an eventfd at each completion of the queue; a negative one takes it back.
NRT_STATUS nrta_event_register_xu_completion(int lnc, nrta_xu_t xu, int queue,
                                             int event_fd);

#ifdef __cplusplus
}
#endif
