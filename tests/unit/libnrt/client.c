/* Loads the NEFF that is named as its argument, executes it twice on float32 inputs
 * that count from 0, and prints the outputs. Exits with the first status that is none
 * of success. */
#include <nrt/nrt.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(call)                                                      \
  do {                                                                   \
    NRT_STATUS status = (call);                                          \
    if (status != NRT_SUCCESS) {                                         \
      fprintf(stderr, "%s: %s\n", #call, nrt_get_status_as_str(status)); \
      exit(status);                                                      \
    }                                                                    \
  } while (0)

static void* read_file(const char* path, size_t* size) {
  FILE* file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) exit(100);
  *size = (size_t)ftell(file);
  rewind(file);
  void* bytes = malloc(*size);
  if (bytes == NULL || fread(bytes, 1, *size, file) != *size) exit(100);
  fclose(file);
  return bytes;
}

static nrt_tensor_t* make_tensor(const nrt_tensor_info_t* info) {
  nrt_tensor_t* tensor = NULL;
  CHECK(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, info->size, info->name,
                            &tensor));
  size_t count = info->size / sizeof(float);
  float* values = malloc(info->size);
  for (size_t i = 0; i < count; ++i) values[i] = (float)i;
  CHECK(nrt_tensor_write(tensor, values, 0, info->size));
  free(values);
  return tensor;
}

static void print_tensor(const nrt_tensor_info_t* info, const nrt_tensor_t* tensor) {
  float* values = malloc(info->size);
  CHECK(nrt_tensor_read(tensor, values, 0, info->size));
  printf("%s:", info->name);
  for (size_t i = 0; i < info->size / sizeof(float); ++i) {
    printf(" %g", values[i] == 0 ? 0.0 : (double)values[i]); /* no -0 */
  }
  printf("\n");
  free(values);
}

int main(int argc, char** argv) {
  if (argc != 2) return 100;
  size_t size = 0;
  void* neff = read_file(argv[1], &size);
  CHECK(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
  nrt_model_t* model = NULL;
  CHECK(nrt_load(neff, size, 0, 1, &model));
  free(neff);

  nrt_tensor_info_array_t* infos = NULL;
  CHECK(nrt_get_model_tensor_info(model, &infos));
  nrt_tensor_set_t* sets[2];
  CHECK(nrt_allocate_tensor_set(&sets[NRT_TENSOR_USAGE_INPUT]));
  CHECK(nrt_allocate_tensor_set(&sets[NRT_TENSOR_USAGE_OUTPUT]));
  nrt_tensor_t** tensors = calloc(infos->tensor_count, sizeof *tensors);
  for (uint64_t i = 0; i < infos->tensor_count; ++i) {
    const nrt_tensor_info_t* info = &infos->tensor_array[i];
    tensors[i] = make_tensor(info);
    CHECK(nrt_add_tensor_to_tensor_set(sets[info->usage], info->name, tensors[i]));
  }
  for (int times = 0; times < 2; ++times) {
    CHECK(nrt_execute(model, sets[NRT_TENSOR_USAGE_INPUT],
                      sets[NRT_TENSOR_USAGE_OUTPUT]));
  }
  for (uint64_t i = 0; i < infos->tensor_count; ++i) {
    const nrt_tensor_info_t* info = &infos->tensor_array[i];
    if (info->usage == NRT_TENSOR_USAGE_OUTPUT) print_tensor(info, tensors[i]);
    nrt_tensor_free(&tensors[i]);
  }
  free(tensors);
  for (int i = 0; i < 2; ++i) nrt_destroy_tensor_set(&sets[i]);
  CHECK(nrt_free_model_tensor_info(infos));
  CHECK(nrt_unload(model));
  nrt_close();
  return 0;
}
