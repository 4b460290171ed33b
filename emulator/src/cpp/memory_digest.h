// Tells what memory holds by fewer bytes than it has.

#ifndef NKIPY_EMULATOR_MEMORY_DIGEST_H_
#define NKIPY_EMULATOR_MEMORY_DIGEST_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <memory>
#include <new>
#include <thread>

#include "../libnrt/copy_pieces.h"
#include "exit_gate.h"
#include "python_support.h"

namespace nkipy {

__extension__ using Digest = unsigned __int128;

// Bytes that have a digest of their own, and of the keys.
constexpr size_t kDigestBlock = 4096;
constexpr size_t kBlocksInPiece = 256;
constexpr size_t kMostDigestThreads = 8;

// The function NH of UMAC (Black, Halevi, Krawczyk, Krovetz and Rogaway 1999), with
// words of 64 bits: of two blocks that differ, it is the same for one in 2^64 keys.
inline Digest digest_of(const unsigned char* block, size_t size, const uint64_t* keys) {
  const auto product = [&](size_t i, size_t bytes) {
    uint64_t words[2] = {0, 0};
    memcpy(words, block + i, bytes);
    const uint64_t* key = keys + i / sizeof(uint64_t);
    return static_cast<Digest>(words[0] + key[0]) * (words[1] + key[1]);
  };
  Digest sums[4] = {0, 0, 0, 0};  // which wait for no sum of another
  size_t i = 0;
  for (; i + 64 <= size; i += 64) {
    for (size_t k = 0; k < 4; ++k) sums[k] += product(i + 16 * k, 16);
  }
  for (; i < size; i += 16) sums[0] += product(i, std::min<size_t>(16, size - i));
  return sums[0] + sums[1] + sums[2] + sums[3];
}

inline void digest_all(const unsigned char* data, size_t size, const uint64_t* keys,
                       Digest* digests) {
  const size_t piece = kDigestBlock * kBlocksInPiece;
  const size_t pieces = (size + piece - 1) / piece;
  const size_t cores = std::max(1u, std::thread::hardware_concurrency());
  const size_t helpers = std::min({cores, kMostDigestThreads, pieces + 1}) - 1;
  emulator::run_pieces(pieces, helpers, [=](size_t number) {
    const size_t end = std::min(size, (number + 1) * piece);
    size_t block = number * kBlocksInPiece;
    for (size_t i = number * piece; i < end; i += kDigestBlock, ++block) {
      digests[block] = digest_of(data + i, std::min(kDigestBlock, end - i), keys);
    }
  });
}

// digest(array, nbytes, keys): of a C-contiguous array of so many bytes, 16 bytes for
// each block of 4096, as `keys`, so many random bytes, have it. Memory that differs has
// another digest, but for one in 2^64 keys.
inline PyObject* digest(PyObject*, PyObject* args) {
  PyObject *array, *given;
  Py_ssize_t nbytes;
  if (!PyArg_ParseTuple(args, "OnO", &array, &nbytes, &given)) return nullptr;
  const auto size = static_cast<size_t>(nbytes);
  Span data{};
  if (!locate(array, size, "array", 0, false, &data)) return nullptr;
  char* keys;
  Py_ssize_t length;
  if (PyBytes_AsStringAndSize(given, &keys, &length) != 0) return nullptr;
  if (length != static_cast<Py_ssize_t>(kDigestBlock)) {
    PyErr_SetString(PyExc_ValueError, "keys must be 4096 bytes");
    return nullptr;
  }
  uint64_t own[kDigestBlock / sizeof(uint64_t)];
  memcpy(own, keys, sizeof(own));
  const size_t blocks = (size + kDigestBlock - 1) / kDigestBlock;
  const std::unique_ptr<Digest[]> digests(new (std::nothrow) Digest[blocks]);
  if (!digests) return PyErr_NoMemory();
  PyThreadState* thread = PyEval_SaveThread();
  digest_all(reinterpret_cast<const unsigned char*>(data.begin), size, own,
             digests.get());
  restore_thread(thread);
  return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(digests.get()),
                                   static_cast<Py_ssize_t>(blocks * sizeof(Digest)));
}

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_MEMORY_DIGEST_H_
