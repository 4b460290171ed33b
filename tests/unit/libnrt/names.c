/* Frees the names that libnrt gives one by one, and calls what has a header for C
 * alone. Prints a line for each thing that was checked. */
#include <nrt/nec.h>
#include <nrt/nrt.h>
#include <nrt/nrt_async.h>
#include <nrt/nrt_profile.h>
#include <nrt/nrt_sys_trace.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                      \
  do {                                                        \
    if (!(condition)) {                                       \
      fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
      exit(1);                                                \
    }                                                         \
  } while (0)

/* Writes into each name, which is the caller's, and frees all of them. */
static size_t use_up(const char** names, size_t count) {
  CHECK(names != NULL && names[count] == NULL);
  for (size_t i = 0; i < count; ++i) {
    char* name = (char*)names[i];
    CHECK(strlen(name) > 0);
    for (size_t k = 0; k < i; ++k) CHECK(names[k] != name);
    memset(name, 'x', strlen(name));
    free(name);
  }
  free(names);
  return count;
}

int main(void) {
  const char** names = NULL;
  size_t count = 0;
  CHECK(nrt_sys_trace_get_event_types(&names, &count) == NRT_SUCCESS);
  size_t all = use_up(names, count);
  nrt_sys_trace_config_t* trace = NULL;
  CHECK(nrt_sys_trace_config_allocate(&trace) == NRT_SUCCESS);
  for (int round = 0; round < 2; ++round) { /* what was written into is no matter */
    CHECK(nrt_sys_trace_config_get_enabled_event_types(trace, &names, &count) ==
          NRT_SUCCESS);
    CHECK(use_up(names, count) == all);
  }
  CHECK(nrt_sys_trace_get_event_types(&names, &count) == NRT_SUCCESS);
  nrt_sys_trace_free_event_types(names, count);
  nrt_sys_trace_free_event_types(NULL, 0);
  nrt_sys_trace_config_free(trace);
  printf("events\n");

  nrt_inspect_config_t* config = NULL;
  CHECK(nrt_inspect_config_allocate(&config) == NRT_SUCCESS);
  CHECK(nrt_inspect_config_get_all_activity_types(&names, &count) == NRT_SUCCESS);
  CHECK(use_up(names, count) > 0);
  CHECK(nrt_inspect_config_get_enabled_activity_types(config, &names, &count) ==
        NRT_SUCCESS);
  use_up(names, count);
  CHECK(nrt_inspect_config_get_all_activity_types(&names, &count) == NRT_SUCCESS);
  nrt_inspect_config_free_activity_types(names, count);
  printf("activities\n");

  nrt_inspect_device_profile_mode_t mode = NRT_INSPECT_DEVICE_PROFILE_MODE_SESSION;
  CHECK(nrt_inspect_config_set_inspect_device_profile_mode(config, mode) ==
        NRT_SUCCESS);
  mode = NRT_INSPECT_DEVICE_PROFILE_MODE_MODEL;
  CHECK(nrt_inspect_config_set_inspect_device_profile_mode(config, mode) ==
        NRT_SUCCESS);
  mode = (nrt_inspect_device_profile_mode_t)77;
  CHECK(nrt_inspect_config_set_inspect_device_profile_mode(config, mode) ==
        NRT_INVALID);
  nrt_inspect_config_free(config);
  printf("mode\n");

  struct nrt_version version;
  nec_version_info_t info;
  memset(&info, 0xff, sizeof info);
  CHECK(nrt_get_version(&version, sizeof version) == NRT_SUCCESS);
  CHECK(nec_get_version_info(&info) == NRT_SUCCESS);
  CHECK(info.major == version.rt_major && info.minor == version.rt_minor);
  CHECK(info.patch == version.rt_patch && info.git_hash[0] == 0);
  CHECK(nec_get_version_info(NULL) == NRT_INVALID);
  printf("version\n");

  int fd = -7;
  uint64_t offset = 7;
  CHECK(nrt_get_dmabuf_fd_v2(4096, 4096, &fd, &offset) == NRT_FAILURE);
  CHECK(fd == -7 && offset == 7);
  printf("dmabuf\n");

  nrt_cc_comm_t comm = {NULL, 0, 1, 0, 1, 0};
  nrt_tensor_list_t list = {NULL, 0};
  nrt_cc_op_type_t op = NRT_CC_ALLREDUCE;
  nrta_xu_id_t xu = (nrta_xu_id_t)(UINT64_MAX >> 48);
  CHECK(comm.rank_n == 1 && list.num_tensors == 0 && op == 1 && xu == 0xffff);
  return 0;
}
