/* Opens the library under the name that is its first argument and under its second,
 * which must be one library, and counts its cores. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

int main(int argc, char** argv) {
  void* symbols[2] = {NULL, NULL};
  int (*count)(uint32_t*) = NULL;
  if (argc != 3) return 100;
  for (int i = 0; i < 2; ++i) {
    void* library = dlopen(argv[i + 1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
      fprintf(stderr, "%s\n", dlerror());
      return 1;
    }
    symbols[i] = dlvsym(library, "nrta_execute_schedule", "NRT_3.0.0");
    *(void**)&count = dlsym(library, "nrt_get_total_nc_count");
  }
  uint32_t cores = 0;
  if (symbols[0] == NULL || symbols[0] != symbols[1] || count == NULL) return 2;
  if (count(&cores) != 0) return 3;
  printf("%u cores\n", cores);
  return 0;
}
