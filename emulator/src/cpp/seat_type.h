// The Python object `Seat`: a rank's place in a world.

#ifndef NKIPY_EMULATOR_SEAT_TYPE_H_
#define NKIPY_EMULATOR_SEAT_TYPE_H_

#include <errno.h>
#include <fcntl.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "collective_calls.h"
#include "exit_gate.h"
#include "python_support.h"
#include "world_seat.h"

namespace nkipy {

struct SeatObject {
  PyObject_HEAD std::shared_ptr<Seat>* seat;
};

inline PyTypeObject* seat_type = nullptr;
constexpr uint64_t kMaxLimit = 1'000'000'000'000;  // ms, which no clock overflows by

inline std::shared_ptr<Seat>& seat_of(PyObject* self) {
  return *reinterpret_cast<SeatObject*>(self)->seat;
}

// What the exceptions of `function` are in Python; null with one set.
template <typename Function>
PyObject* guarded(const Function& function) {
  try {
    return function();
  } catch (const WorldFailure& failure) {
    PyErr_SetString(world_error, failure.what());
  } catch (const std::system_error& error) {
    errno = error.code().value();
    PyErr_SetFromErrno(PyExc_OSError);
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  }
  return nullptr;
}

inline PyObject* seat_new(PyTypeObject* type, PyObject* args, PyObject*) {
  unsigned int rank = 0, ranks = 0;
  if (!PyArg_ParseTuple(args, "II", &rank, &ranks)) return nullptr;
  if (ranks == 0 || ranks > kMaxWorldRanks || rank >= ranks) {
    return PyErr_Format(PyExc_ValueError, "rank %u of %u: there may be 1 to %u ranks",
                        rank, ranks, kMaxWorldRanks);
  }
  auto allocate = reinterpret_cast<allocfunc>(PyType_GetSlot(type, Py_tp_alloc));
  PyObject* self = allocate(type, 0);
  if (self == nullptr) return nullptr;
  return guarded([&] {
    auto* object = reinterpret_cast<SeatObject*>(self);
    object->seat = new std::shared_ptr<Seat>(std::make_shared<Seat>(rank, ranks));
    return self;
  });
}

inline void seat_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  delete reinterpret_cast<SeatObject*>(self)->seat;
  reinterpret_cast<freefunc>(PyType_GetSlot(type, Py_tp_free))(self);
  Py_DECREF(type);
}

// Ranks of a sequence. False with an exception set.
inline bool read_ranks(PyObject* sequence, uint32_t ranks, std::vector<uint32_t>* out) {
  const Py_ssize_t count = PySequence_Size(sequence);
  for (Py_ssize_t i = 0; i < count; ++i) {
    Ref item(PySequence_GetItem(sequence, i));
    const unsigned long rank = item ? PyLong_AsUnsignedLong(item.get()) : ranks;
    if (PyErr_Occurred() != nullptr) return false;
    if (rank >= ranks) {
      PyErr_SetString(PyExc_ValueError, "no such rank");
      return false;
    }
    out->push_back(static_cast<uint32_t>(rank));
  }
  if (count == 0) PyErr_SetString(PyExc_ValueError, "a link to no rank");
  return count > 0;
}

// form(descriptor, spins, links=())
inline PyObject* seat_form(PyObject* self, PyObject* args) {
  int descriptor = -1;
  unsigned int spins = 0;
  PyObject* given = nullptr;
  if (!PyArg_ParseTuple(args, "iI|O", &descriptor, &spins, &given)) return nullptr;
  return guarded([&]() -> PyObject* {
    Seat& seat = *seat_of(self);
    std::vector<std::unique_ptr<Link>> links;
    const Py_ssize_t count = given == nullptr ? 0 : PySequence_Size(given);
    if (count < 0) return nullptr;
    for (Py_ssize_t i = 0; i < count; ++i) {
      Ref link(PySequence_GetItem(given, i));
      int socket = -1;
      PyObject* ranks = nullptr;
      std::vector<uint32_t> there;
      if (!link || !PyArg_ParseTuple(link.get(), "iO", &socket, &ranks) ||
          !read_ranks(ranks, seat.ranks(), &there)) {
        return nullptr;
      }
      const int copy = fcntl(socket, F_DUPFD_CLOEXEC, 0);
      if (copy < 0) return PyErr_SetFromErrno(PyExc_OSError);
      links.push_back(std::make_unique<Link>(copy, std::move(there)));
    }
    auto memory = std::make_shared<WorldMemory>(descriptor, seat.ranks());
    memory->set_spins(spins);
    seat.form(std::move(memory), std::move(links));
    Py_RETURN_NONE;
  });
}

// Calls function() without the interpreter's lock.
template <typename Function>
PyObject* unlocked(const Function& function) {
  return guarded([&]() -> PyObject* {
    PyThreadState* thread = PyEval_SaveThread();
    try {
      function();
    } catch (...) {
      restore_thread(thread);
      throw;
    }
    restore_thread(thread);
    Py_RETURN_NONE;
  });
}

// follow(descriptor, rank)
inline PyObject* seat_follow(PyObject* self, PyObject* args) {
  int descriptor = -1;
  unsigned int rank = 0;
  if (!PyArg_ParseTuple(args, "iI", &descriptor, &rank)) return nullptr;
  const std::shared_ptr<WorldMemory> memory = seat_of(self)->memory();
  if (!memory || rank >= memory->ranks()) {
    return PyErr_Format(PyExc_ValueError, "no rank %u to follow", rank);
  }
  return unlocked([&] { follow(descriptor, rank, *memory); });
}

inline PyObject* seat_fail(PyObject* self, PyObject* reason) {
  const char* text = PyUnicode_AsUTF8AndSize(reason, nullptr);
  if (text == nullptr) return nullptr;
  const std::shared_ptr<Seat> seat = seat_of(self);
  return unlocked([&] { seat->fail(text); });
}

// end(rank, reason)
inline PyObject* seat_end(PyObject* self, PyObject* args) {
  unsigned int rank = 0;
  const char* text = nullptr;
  if (!PyArg_ParseTuple(args, "Is", &rank, &text)) return nullptr;
  const std::shared_ptr<Seat> seat = seat_of(self);
  return unlocked([&] { seat->end(rank, text); });
}

inline PyObject* seat_leave(PyObject* self, PyObject* reason) {
  const char* text = PyUnicode_AsUTF8AndSize(reason, nullptr);
  if (text == nullptr) return nullptr;
  return guarded([&]() -> PyObject* {
    seat_of(self)->leave(text);
    Py_RETURN_NONE;
  });
}

inline PyObject* seat_lose(PyObject* self, PyObject* rank) {
  const unsigned long number = PyLong_AsUnsignedLong(rank);
  if (PyErr_Occurred() != nullptr) return nullptr;
  seat_of(self)->lose(static_cast<uint32_t>(number));
  Py_RETURN_NONE;
}

inline PyObject* seat_expect(PyObject* self, PyObject* whom) {
  const char* text = PyUnicode_AsUTF8AndSize(whom, nullptr);
  if (text == nullptr) return nullptr;
  return guarded([&]() -> PyObject* {
    seat_of(self)->expect(text);
    Py_RETURN_NONE;
  });
}

inline PyObject* seat_limit(PyObject* self, PyObject* milliseconds) {
  const uint64_t limit = PyLong_AsUnsignedLongLong(milliseconds);
  if (PyErr_Occurred() != nullptr) return nullptr;
  seat_of(self)->limit(std::chrono::milliseconds(std::min(limit, kMaxLimit)));
  Py_RETURN_NONE;
}

inline PyObject* seat_reason(PyObject* self, void*) {
  return guarded([&]() -> PyObject* {
    const std::string reason = seat_of(self)->reason();
    if (reason.empty()) Py_RETURN_NONE;
    return PyUnicode_DecodeUTF8(reason.data(), static_cast<Py_ssize_t>(reason.size()),
                                "replace");
  });
}

// all_gather(data, text, seconds): the data of all ranks, one after the other. Nothing
// to gather is a barrier.
inline PyObject* seat_all_gather(PyObject* self, PyObject* args) {
  const char *data = nullptr, *text = nullptr;
  Py_ssize_t size = 0;
  double seconds = 0;
  if (!PyArg_ParseTuple(args, "y#sd", &data, &size, &text, &seconds)) return nullptr;
  const std::shared_ptr<Seat> seat = seat_of(self);
  Collective c;
  c.kind = Collective::Kind::kPlace;
  for (uint32_t rank = 0; rank < seat->ranks(); ++rank) c.group.push_back(rank);
  c.position = seat->rank();
  c.inner = static_cast<size_t>(size);
  c.text = text;
  c.signature = static_cast<uint64_t>(size);
  for (const char letter : c.text) {  // FNV-1a
    c.signature = (c.signature ^ static_cast<uint8_t>(letter)) * 0x100000001b3;
  }
  Ref result(PyBytes_FromStringAndSize(nullptr, size * seat->ranks()));
  if (!result) return nullptr;
  const auto deadline =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(
                         std::chrono::duration<double>(std::min(seconds, 1e9)));
  const auto is_over = [&] { return Clock::now() >= deadline; };
  const auto why = [&] {
    return "rank " + std::to_string(seat->rank()) + " has run out of time";
  };
  PyObject* done = guarded([&] {
    PyThreadState* thread = PyEval_SaveThread();
    try {
      seat->run(c, data, PyBytes_AsString(result.get()), is_over, why);
    } catch (...) {
      restore_thread(thread);
      throw;
    }
    restore_thread(thread);
    return result.release();
  });
  return done;
}

inline PyMethodDef seat_methods[] = {
    {"form", seat_form, METH_VARARGS,
     "form(descriptor, spins, links=()): the memory of the world, which is complete. "
     "Links are pairs of a socket, which is duplicated, and the ranks of a machine."},
    {"follow", seat_follow, METH_VARARGS,
     "follow(descriptor, rank): do what the link of a rank of another machine says, "
     "until it ends."},
    {"fail", seat_fail, METH_O, "fail(reason): end the world for all its ranks."},
    {"end", seat_end, METH_VARARGS,
     "end(rank, reason): the same, where a rank of another machine has ended, whose "
     "last words count more."},
    {"leave", seat_leave, METH_O, "leave(reason): do nothing any more."},
    {"lose", seat_lose, METH_O, "lose(rank): another rank has left."},
    {"expect", seat_expect, METH_O, "expect(whom): whom it waits for, for people."},
    {"limit", seat_limit, METH_O,
     "limit(milliseconds): how long programs wait for others; 0: until they end."},
    {"all_gather", seat_all_gather, METH_VARARGS,
     "all_gather(data, text, seconds): the bytes of all ranks, joined."},
    {nullptr, nullptr, 0, nullptr}};

inline PyObject* seat_rank(PyObject* self, void*) {
  return PyLong_FromUnsignedLong(seat_of(self)->rank());
}

inline PyObject* seat_ranks(PyObject* self, void*) {
  return PyLong_FromUnsignedLong(seat_of(self)->ranks());
}

inline PyGetSetDef seat_getset[] = {
    {"rank", seat_rank, nullptr, "The rank.", nullptr},
    {"ranks", seat_ranks, nullptr, "How many ranks the world has.", nullptr},
    {"reason", seat_reason, nullptr, "Why the world has ended, or None.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

inline PyType_Slot seat_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(seat_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(seat_dealloc)},
    {Py_tp_methods, seat_methods},
    {Py_tp_getset, seat_getset},
    {Py_tp_doc, const_cast<char*>("Seat(rank, ranks): a rank's place in a world.")},
    {0, nullptr}};

inline PyType_Spec seat_spec = {"nkipy_emulator._handlers.Seat", sizeof(SeatObject), 0,
                                Py_TPFLAGS_DEFAULT, seat_slots};

}  // namespace nkipy

#endif  // NKIPY_EMULATOR_SEAT_TYPE_H_
