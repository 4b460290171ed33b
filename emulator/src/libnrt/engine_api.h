/* What the engine's C++ extension offers to libnrt, when both are in one process.
 *
 * libnrt finds a pointer to this table in a capsule,
 * `nkipy_emulator.device.api.CAPSULE`. The functions take the interpreter's lock
 * themselves. Once a program is loaded, executing it runs no Python code.
 */
#ifndef NKIPY_EMULATOR_LIBNRT_ENGINE_API_H_
#define NKIPY_EMULATOR_LIBNRT_ENGINE_API_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NKIPY_DEVICE_API_VERSION 6
#define NKIPY_DEVICE_API_CAPSULE "nkipy_emulator.device.api"

typedef struct nkipy_program nkipy_program;

/* How an execution that is left behind keeps what it uses. */
typedef struct nkipy_keeper {
  /* A share in it, which is given up by `release` when the execution has ended. */
  void* (*keep)(const void* context);
  void (*release)(void* share);
  const void* context;
} nkipy_keeper;

/* Takes the tensors that kernels print, from any thread, one at a time. */
typedef struct nkipy_printer {
  /* `rank` is among those that the execution runs. The texts end in 0. */
  void (*print)(const void* context, uint32_t rank, const char* prefix,
                const char* dtype, const uint64_t* shape, size_t dimensions,
                const void* data, size_t size);
  const void* context;
} nkipy_printer;

typedef struct nkipy_device_api {
  uint32_t version;

  /* Compiles the program in `size` bytes of a NEFF. `options` is JSON text. Returns an
   * NRT status. `*text` becomes a JSON description of the program, or the reason of a
   * failure; the caller releases it with free(). `*interrupt` is as for `execute`. */
  int (*load)(const void* neff, size_t size, const char* options,
              nkipy_program** program, char** text, void** interrupt);

  /* Runs a program once. `inputs` and `outputs` are addresses in the order of the
   * description; those of rank r follow those of rank r-1. Outputs may be inputs or
   * overlap them: they are written when all inputs have been read, and only if nothing
   * failed. What takes longer than `timeout_ms` is a failure, and so is what a handler
   * of a signal raises in this thread meanwhile: the execution goes on for nobody, and
   * uses inputs, outputs and program for as long as it has a share of `keeper`.
   * Returns an NRT status, and a text to be freed if it is not 0; with `*interrupt`
   * what such a handler has raised, a strong PyObject*, else null. What is printed
   * before it returns goes to `printer`. */
  int (*execute)(nkipy_program* program, const uint64_t* inputs,
                 const uint64_t* outputs, uint64_t timeout_ms,
                 const nkipy_keeper* keeper, const nkipy_printer* printer, char** error,
                 void** interrupt);

  /* The cost model's account of one execution, made when it is first asked for.
   * Returns an NRT status. `*text` becomes JSON text, or the reason of a failure; the
   * caller releases it with free(). */
  int (*estimate)(nkipy_program* program, char** text);

  /* Gives each rank of a meeting the `size` bytes of all, one after the other, in
   * `result`. `meeting` is JSON text. What else there is, is as for `load`. */
  int (*all_gather)(const char* meeting, const void* data, size_t size, void* result,
                    size_t result_size, char** error, void** interrupt);

  /* Leaves the worlds that programs and meetings of ranks were in. */
  void (*close)(void);

  /* Gives up a program that no thread is executing. */
  void (*unload)(nkipy_program* program);
} nkipy_device_api;

#ifdef __cplusplus
}
#endif

#endif /* NKIPY_EMULATOR_LIBNRT_ENGINE_API_H_ */
