/* A second extension module that shares spike's runtime, for the tests: it knows spike
 * by its C interface alone. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "spike_c.h"

enum { SIZE = 64, ROUNDS = 50, HANDLES = 6 };

static const SpikeApi* spike;

/* None, or an error with spike's text and the status. */
static PyObject* answer(int status) {
  if (status == SPIKE_NRT_SUCCESS) Py_RETURN_NONE;
  if (status != SPIKE_INTERRUPTED)
    PyErr_Format(PyExc_RuntimeError, "%d %s", status, spike->last_error());
  return NULL;
}

/* Everything that a call of the tests' model needs: sum = x + 1. */
typedef struct {
  SpikeTensor *x, *y, *sum;
  SpikeModel* model;
  SpikeCall* call;
  SpikeExecution* execution;
} Things;

static int prepare(const char* neff, Things* made) {
  memset(made, 0, sizeof *made);
  int status = spike->tensor_allocate(SIZE, 0, "x", &made->x);
  if (!status) status = spike->tensor_allocate(SIZE, 0, NULL, &made->y);
  if (!status) status = spike->tensor_allocate(SIZE, 0, "sum", &made->sum);
  if (!status) status = spike->model_load(neff, 0, 0, 0, 1, &made->model);
  if (status) return status;
  const char *inputs[] = {"x", "y"}, *outputs[] = {"sum"};
  SpikeTensor* given[] = {made->x, made->y};
  return spike->call_prepare(made->model, 2, inputs, given, 1, outputs, &made->sum,
                             &made->call);
}

/* Releases the handles in the order that the digits say. */
static void release(Things* made, const char* order) {
  for (; *order; ++order) switch (*order) {
      case '0':
        spike->tensor_release(made->x);
        break;
      case '1':
        spike->tensor_release(made->y);
        break;
      case '2':
        spike->tensor_release(made->sum);
        break;
      case '3':
        spike->model_release(made->model);
        break;
      case '4':
        spike->call_release(made->call);
        break;
      case '5':
        spike->execution_release(made->execution);
    }
}

/* Executes both ways, looks at the result, and releases in the given order. */
static int use(const char* neff, int value, const char* order) {
  Things made;
  char data[SIZE], result[SIZE];
  memset(data, value, SIZE);
  int status = prepare(neff, &made);
  if (!status) status = spike->tensor_write(made.x, 0, data, SIZE);
  if (!status) status = spike->call_execute(made.call);
  if (!status) status = spike->tensor_read(made.sum, 0, result, SIZE);
  if (!status && result[SIZE - 1] != (char)(value + 1)) status = SPIKE_ERROR;
  if (!status) status = spike->tensor_fill(made.x, 0, value + 1, 0);
  if (!status) status = spike->call_submit(made.call, &made.execution);
  if (!status) status = spike->execution_wait(made.execution, -1);
  if (!status) status = spike->tensor_read(made.sum, 0, result, SIZE);
  if (!status && result[0] != (char)(value + 2)) status = SPIKE_ERROR;
  release(&made, order);
  return status;
}

static PyObject* run(PyObject* self, PyObject* args) {
  (void)self;
  const char *neff, *order;
  return PyArg_ParseTuple(args, "ss", &neff, &order) ? answer(use(neff, 7, order))
                                                     : NULL;
}

/* ---- Threads that Python does not know ---- */

typedef struct {
  const char* neff;
  int number, status;
  char error[200];
} Work;

static void* work(void* given) {
  static const char* orders[] = {"012345", "543210", "304152", "250413"};
  Work* w = given;
  for (int i = 0; i < ROUNDS && !w->status; ++i) {
    w->status = use(w->neff, 10 * w->number + i % 5, orders[i % 4]);
    if (w->status) strncpy(w->error, spike->last_error(), sizeof w->error - 1);
  }
  return NULL;
}

static PyObject* run_in_threads(PyObject* self, PyObject* args) {
  (void)self;
  enum { MOST = 8 };
  const char* neff;
  int count;
  Work works[MOST];
  pthread_t threads[MOST];
  if (!PyArg_ParseTuple(args, "si", &neff, &count) || count > MOST) return NULL;
  memset(works, 0, sizeof works);
  Py_BEGIN_ALLOW_THREADS for (int i = 0; i < count; ++i) {
    works[i].neff = neff, works[i].number = i;
    pthread_create(&threads[i], NULL, work, &works[i]);
  }
  for (int i = 0; i < count; ++i) pthread_join(threads[i], NULL);
  Py_END_ALLOW_THREADS for (int i = 0; i < count; ++i) if (
      works[i].status) return PyErr_Format(PyExc_RuntimeError, "%d %s", works[i].status,
                                           works[i].error);
  Py_RETURN_NONE;
}

static void* call_again(void* which) {
  uint32_t count;
  size_t used, limit;
  for (;;) {
    if (which == NULL)
      spike->core_count(&count);
    else
      spike->memory_stats(0, &used, &limit);
  }
  return NULL;
}

/* Threads of C's that nobody joins. */
static PyObject* call_for_ever(PyObject* self, PyObject* none) {
  (void)self, (void)none;
  static int opens;
  void* which[] = {NULL, &opens};
  for (int i = 0; i < 2; ++i) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, call_again, which[i]) == 0)
      pthread_detach(thread);
  }
  Py_RETURN_NONE;
}

/* ---- Single functions ---- */

static PyObject* open_runtime(PyObject* self, PyObject* none) {
  (void)self, (void)none;
  return answer(spike->open());
}

static PyObject* close_runtime(PyObject* self, PyObject* none) {
  (void)self, (void)none;
  return answer(spike->close());
}

static PyObject* state(PyObject* self, PyObject* none) {
  (void)self, (void)none;
  return PyLong_FromLong(spike->state());
}

static PyObject* about(PyObject* self, PyObject* none) {
  (void)self, (void)none;
  uint32_t cores = 0;
  int status = spike->core_count(&cores);
  return status ? answer(status)
                : Py_BuildValue("Iks", spike->version,
                                (unsigned long)(spike->size - sizeof(SpikeApi)),
                                spike->status_name(cores + 2));
}

static PyObject* memory_stats(PyObject* self, PyObject* core) {
  (void)self;
  size_t used = 0, limit = 0;
  int status = spike->memory_stats(PyLong_AsLong(core), &used, &limit);
  return status ? answer(status) : Py_BuildValue("nn", used, limit);
}

static PyObject* allocate(PyObject* self, PyObject* args) {
  (void)self;
  Py_ssize_t size;
  int core;
  SpikeTensor* tensor = NULL;
  PyObject* made = NULL;
  if (!PyArg_ParseTuple(args, "ni", &size, &core)) return NULL;
  int status = spike->tensor_allocate(size, core, "second", &tensor);
  if (!status) status = spike->tensor_to_python(tensor, &made);
  spike->tensor_release(tensor);
  return status ? answer(status) : made;
}

/* Size, core, whether it is freed, and the address of a slice of an NrtTensor. */
static PyObject* describe_slice(PyObject* self, PyObject* args) {
  (void)self;
  PyObject* object;
  Py_ssize_t offset, size;
  SpikeTensor *tensor = NULL, *part = NULL;
  SpikeTensorInfo info = {0};
  if (!PyArg_ParseTuple(args, "Onn", &object, &offset, &size)) return NULL;
  int status = spike->tensor_from_python(object, &tensor);
  if (!status) status = spike->tensor_slice(tensor, offset, size, &part);
  if (!status) status = spike->tensor_info(part, &info);
  spike->tensor_release(tensor);
  spike->tensor_release(part);
  return status ? answer(status)
                : Py_BuildValue("niiK", info.size, info.core_id, info.is_freed,
                                info.address);
}

static PyObject* copy(PyObject* self, PyObject* args) {
  (void)self;
  PyObject *from, *to;
  Py_ssize_t from_offset, offset, size;
  SpikeTensor *source = NULL, *target = NULL;
  if (!PyArg_ParseTuple(args, "OnOnn", &from, &from_offset, &to, &offset, &size))
    return NULL;
  int status = spike->tensor_from_python(from, &source);
  if (!status) status = spike->tensor_from_python(to, &target);
  if (!status) status = spike->tensor_copy(source, from_offset, target, offset, size);
  spike->tensor_release(target);
  spike->tensor_release(source);
  return answer(status);
}

/* A call of an NrtModel with NrtTensors: sum = x + 1. */
static int take(PyObject* model, PyObject* x, PyObject* sum, Things* made) {
  int status = spike->model_from_python(model, &made->model);
  if (!status) status = spike->tensor_from_python(x, &made->x);
  if (!status) status = spike->tensor_from_python(sum, &made->sum);
  const char *inputs[] = {"x", "y"}, *outputs[] = {"sum"};
  SpikeTensor* given[] = {made->x, made->x};
  return status ? status
                : spike->call_prepare(made->model, 2, inputs, given, 1, outputs,
                                      &made->sum, &made->call);
}

static PyObject* prepare_only(PyObject* self, PyObject* args) {
  (void)self;
  PyObject *model, *x, *sum;
  Things made = {0};
  if (!PyArg_ParseTuple(args, "OOO", &model, &x, &sum)) return NULL;
  int status = take(model, x, sum, &made);
  release(&made, "01234");
  return answer(status);
}

/* Starts an execution of an NrtModel and waits for so many milliseconds. The error's
 * text if it is not done. */
static PyObject* submit_and_wait(PyObject* self, PyObject* args) {
  (void)self;
  PyObject *model, *x, *sum;
  long long milliseconds;
  Things made = {0};
  if (!PyArg_ParseTuple(args, "OOOL", &model, &x, &sum, &milliseconds)) return NULL;
  int status = take(model, x, sum, &made);
  if (!status) status = spike->call_submit(made.call, &made.execution);
  if (!status) status = spike->execution_wait(made.execution, milliseconds);
  release(&made, "432105");
  return status == SPIKE_NOT_DONE ? PyUnicode_FromString(spike->last_error())
                                  : answer(status);
}

/* Loads as a rank of so many, and unloads. */
static PyObject* load_as_rank(PyObject* self, PyObject* args) {
  (void)self;
  const char* neff;
  unsigned rank, world;
  SpikeModel* model = NULL;
  if (!PyArg_ParseTuple(args, "sII", &neff, &rank, &world)) return NULL;
  int status = spike->model_load(neff, 0, 1, rank, world, &model);
  spike->model_release(model);
  return answer(status);
}

static PyObject* status_name(PyObject* self, PyObject* status) {
  (void)self;
  return PyUnicode_FromString(spike->status_name(PyLong_AsLong(status)));
}

/* What becomes of handles that outlive the runtime, and of null ones. */
static PyObject* misuse(PyObject* self, PyObject* args) {
  (void)self;
  const char* neff;
  Things made;
  SpikeTensorInfo info;
  if (!PyArg_ParseTuple(args, "s", &neff)) return NULL;
  int status = prepare(neff, &made);
  if (status) return answer(status);
  if (spike->tensor_info(NULL, &info) != SPIKE_ERROR ||
      spike->tensor_info(made.x, NULL) != SPIKE_ERROR ||
      spike->tensor_allocate(SIZE, 0, NULL, NULL) != SPIKE_ERROR ||
      spike->tensor_read(made.x, SIZE, &info, 1) != SPIKE_ERROR ||
      spike->tensor_attach(NULL, SIZE, 0, &made.y) != SPIKE_ERROR ||
      spike->execution_wait(NULL, 0) != SPIKE_ERROR)
    return PyErr_Format(PyExc_AssertionError, "what is wrong was not refused");
  spike->close();
  status = spike->call_execute(made.call);
  spike->tensor_info(made.x, &info);
  PyObject* said = Py_BuildValue("isii", status, spike->last_error(), info.is_freed,
                                 (int)info.address);
  release(&made, "012345");
  release(&(Things){0}, "012345");
  return said;
}

static atomic_int is_closed;

static void* close_in_thread(void* unused) {
  spike->close();
  is_closed = 1;
  return unused;
}

/* Whether memory is the host's; whether closing waited for who had entered; and what
 * entering returns before and after. */
static PyObject* enter_memory(PyObject* self, PyObject* unused) {
  (void)self, (void)unused;
  SpikeTensor* tensor;
  pthread_t closer;
  int is_host = -1, closed_early;
  int status = spike->tensor_allocate(SIZE, 0, "x", &tensor);
  if (!status) status = spike->memory_is_host(&is_host);
  if (status) return answer(status);
  is_closed = 0;
  const int before = spike->tensor_enter(tensor);
  pthread_create(&closer, NULL, close_in_thread, NULL);
  Py_BEGIN_ALLOW_THREADS;
  nanosleep(&(struct timespec){0, 50000000}, NULL);
  closed_early = is_closed;
  spike->tensor_leave(tensor);
  pthread_join(closer, NULL);
  Py_END_ALLOW_THREADS;
  const int after = spike->tensor_enter(tensor);
  PyObject* said = Py_BuildValue("iiiis", is_host, closed_early, before, after,
                                 spike->last_error());
  spike->tensor_release(tensor);
  return said;
}

static PyMethodDef methods[] = {
    {"about", about, METH_NOARGS, NULL},
    {"allocate", allocate, METH_VARARGS, NULL},
    {"call_for_ever", call_for_ever, METH_NOARGS, NULL},
    {"close", close_runtime, METH_NOARGS, NULL},
    {"copy", copy, METH_VARARGS, NULL},
    {"describe_slice", describe_slice, METH_VARARGS, NULL},
    {"enter_memory", enter_memory, METH_NOARGS, NULL},
    {"load_as_rank", load_as_rank, METH_VARARGS, NULL},
    {"memory_stats", memory_stats, METH_O, NULL},
    {"misuse", misuse, METH_VARARGS, NULL},
    {"open", open_runtime, METH_NOARGS, NULL},
    {"prepare", prepare_only, METH_VARARGS, NULL},
    {"run", run, METH_VARARGS, NULL},
    {"run_in_threads", run_in_threads, METH_VARARGS, NULL},
    {"state", state, METH_NOARGS, NULL},
    {"status_name", status_name, METH_O, NULL},
    {"submit_and_wait", submit_and_wait, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "second", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_second(void) {
  spike = spike_import();
  return spike ? PyModule_Create(&definition) : NULL;
}
