/* What bench_spike.py compares spike with: libnrt called from C, in the same process.
 * Build as a shared library. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

typedef int (*load_t)(const void*, size_t, int32_t, int32_t, void**);
typedef int (*allocate_t)(int, int, size_t, const char*, void**);
typedef int (*make_set_t)(void**);
typedef int (*add_t)(void*, const char*, void*);
typedef int (*execute_t)(void*, const void*, void*);

static execute_t execute;
static void *model, *sets[2];

/* Loads a NEFF and makes its tensor sets; all tensors have `size` bytes. 0 if it can. */
int prepare(const char* libnrt, const void* neff, size_t neff_size, size_t size,
            const char** inputs, const char** outputs) {
  void* library = dlopen(libnrt, RTLD_NOW);
  if (!library) return -1;
  execute = (execute_t)dlsym(library, "nrt_execute");
  load_t load = (load_t)dlsym(library, "nrt_load");
  allocate_t allocate = (allocate_t)dlsym(library, "nrt_tensor_allocate");
  make_set_t make_set = (make_set_t)dlsym(library, "nrt_allocate_tensor_set");
  add_t add = (add_t)dlsym(library, "nrt_add_tensor_to_tensor_set");
  int status = load(neff, neff_size, 0, 1, &model);
  const char** names[] = {inputs, outputs};
  for (int i = 0; i < 2 && status == 0; ++i) {
    status = make_set(&sets[i]);
    for (const char** name = names[i]; *name && status == 0; ++name) {
      void* tensor;
      status = allocate(0, 0, size, *name, &tensor);
      if (status == 0) status = add(sets[i], *name, tensor);
    }
  }
  return status;
}

/* Seconds that each of `calls` executions took on average; negative if one failed. */
double run(int calls) {
  struct timespec start, end;
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (int i = 0; i < calls; ++i)
    if (execute(model, sets[0], sets[1]) != 0) return -1;
  clock_gettime(CLOCK_MONOTONIC, &end);
  return ((end.tv_sec - start.tv_sec) + (end.tv_nsec - start.tv_nsec) * 1e-9) / calls;
}
