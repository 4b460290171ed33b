/* A libnrt for spike's own tests: it keeps tensors in memory and a list of the calls it
 * got, returns statuses it is told to, and counts what no client may do ("violations").
 *
 * Its NEFF is text, a line per tensor in order: "input NAME DTYPE SIZE DIM DIM ...".
 * Executing sets each byte of the i-th output to the i-th input's plus one.
 * Without -DFAKE_ASYNC it has no asynchronous interface. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { OK = 0, INVALID = 2, QUEUE_FULL = 7, UNINITIALIZED = 13, CLOSED = 14 };
enum { MAX_TENSORS = 64, MAX_EVENTS = 4096, MAX_INFLIGHT = 4 };

typedef struct {
  char* data;
  size_t size;
  bool owner, live;
  int core, busy, sets;
} Tensor;

typedef struct {
  int count;
  char* names[MAX_TENSORS];
  Tensor* tensors[MAX_TENSORS];
} Set;

typedef struct {
  char name[256];
  uint32_t usage;
  size_t size;
  uint32_t dtype;
  uint32_t* shape;
  uint32_t ndim;
} Info;

typedef struct {
  uint64_t count;
  Info tensors[];
} InfoArray;

typedef struct {
  bool live;
  int core, busy, inputs, outputs;
  InfoArray* info;
} Model;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char calls[1 << 20];
static char injected_name[64];
static int injected_status, delay_us, violations, state = UNINITIALIZED, events;
static int first_event;
static int events_per_execution = 1;
static const void* last_model;
static int switches, first_switch;
static bool tracing, recording = true;

/* ---- What tests use ---- */

/* A copy, which no running call writes into: for one thread at a time. */
const char* fake_calls(void) {
  static char copy[sizeof calls];
  pthread_mutex_lock(&lock);
  strcpy(copy, calls);
  pthread_mutex_unlock(&lock);
  return copy;
}
int fake_violations(void) { return violations; }
void fake_set_delay_us(int value) { delay_us = value; }
void fake_set_events(int value) { events_per_execution = value; }
void fake_record(bool on) { recording = on; }
void fake_inject(const char* function, int status) {
  snprintf(injected_name, sizeof injected_name, "%s", function);
  injected_status = status;
}
void fake_reset(void) {
  calls[0] = injected_name[0] = 0;
  violations = delay_us = events = switches = 0;
  last_model = NULL;
  events_per_execution = 1;
  recording = true;
}

/* ---- Bookkeeping ---- */

static void violation(const char* what) {
  fprintf(stderr, "fake libnrt: %s\n", what);
  __atomic_add_fetch(&violations, 1, __ATOMIC_SEQ_CST);
}

static int enter(const char* function) {
  pthread_mutex_lock(&lock);
  size_t used = strlen(calls);
  if (recording && used + 64 < sizeof calls)
    snprintf(calls + used, sizeof calls - used, "%s\n", function);
  int status = strcmp(function, injected_name) ? OK : injected_status;
  if (status) injected_name[0] = 0;
  pthread_mutex_unlock(&lock);
  return status;
}

static int enter_open(const char* function) {
  int status = enter(function);
  if (state != OK) violation(function);
  return state != OK ? state : status;
}

#define ENTER()                         \
  do {                                  \
    int status_ = enter_open(__func__); \
    if (status_ != OK) return status_;  \
  } while (0)

static bool in_bounds(const Tensor* t, size_t offset, size_t size) {
  if (!t->live) violation("use of a freed tensor");
  return t->live && offset <= t->size && size <= t->size - offset;
}

/* ---- Runtime ---- */

int nrt_init(int framework, const char* a, const char* b) {
  (void)framework, (void)a, (void)b;
  int status = enter(__func__);
  if (status == OK) {
    if (state == OK) violation("second nrt_init");
    state = OK;
  }
  return status;
}
void nrt_close(void) {
  if (enter_open(__func__) == OK) state = CLOSED;
}
int nrt_get_visible_nc_count(uint32_t* count) {
  *count = 2;
  return enter(__func__);
}
int nrt_get_version(uint64_t* version, size_t size) {
  memset(version, 0, size);
  version[0] = 2, version[1] = 32;
  strcpy((char*)(version + 4), "fake");
  return OK;
}

/* ---- Tensors ---- */

static Tensor* new_tensor(char* data, size_t size, int core, bool owner) {
  Tensor* t = calloc(1, sizeof *t);
  *t = (Tensor){.data = data, .size = size, .owner = owner, .live = true, .core = core};
  return t;
}
int nrt_tensor_allocate(int place, int core, size_t size, const char* name,
                        Tensor** t) {
  (void)place, (void)name;
  ENTER();
  if (size == 0 || core < 0 || core > 1) return INVALID;
  *t = new_tensor(calloc(1, size), size, core, true);
  return OK;
}
int nrt_tensor_allocate_slice(const Tensor* source, size_t offset, size_t size,
                              const char* name, Tensor** t) {
  (void)name;
  ENTER();
  if (!in_bounds(source, offset, size)) return INVALID;
  *t = new_tensor(source->data + offset, size, source->core, false);
  return OK;
}
/* The memory stays, so that a use after this is found and not undefined. */
void nrt_tensor_free(Tensor** t) {
  if (enter_open(__func__) != OK) return;
  if (!(*t)->live) violation("second free of a tensor");
  if ((*t)->busy) violation("free of a tensor in use");
  if ((*t)->sets) violation("free of a tensor before its tensor set");
  (*t)->live = false;
  *t = NULL;
}
int nrt_tensor_read(const Tensor* t, void* data, size_t offset, size_t size) {
  ENTER();
  if (!in_bounds(t, offset, size)) return INVALID;
  if (delay_us) usleep(delay_us);
  memcpy(data, t->data + offset, size);
  return OK;
}
int nrt_tensor_write(Tensor* t, const void* data, size_t offset, size_t size) {
  ENTER();
  if (!in_bounds(t, offset, size)) return INVALID;
  if (delay_us) usleep(delay_us);
  memcpy(t->data + offset, data, size);
  return OK;
}
int nrt_tensor_copy(const Tensor* from, size_t from_offset, Tensor* to, size_t offset,
                    size_t size) {
  ENTER();
  if (!in_bounds(from, from_offset, size) || !in_bounds(to, offset, size) ||
      from->core != to->core)
    return INVALID;
  memmove(to->data + offset, from->data + from_offset, size);
  return OK;
}
int nrt_tensor_memset(Tensor* t, uint64_t offset, int value, size_t size) {
  ENTER();
  if (!in_bounds(t, offset, size)) return INVALID;
  memset(t->data + offset, value, size);
  return OK;
}
void* nrt_tensor_get_va(const Tensor* t) { return t->data; }

/* ---- Tensor sets ---- */

int nrt_allocate_tensor_set(Set** set) {
  ENTER();
  *set = calloc(1, sizeof **set);
  return OK;
}
void nrt_destroy_tensor_set(Set** set) {
  if (enter_open(__func__) != OK) return;
  for (int i = 0; i < (*set)->count; ++i) {
    if (!(*set)->tensors[i]->live) violation("tensor freed before its set");
    __atomic_sub_fetch(&(*set)->tensors[i]->sets, 1, __ATOMIC_SEQ_CST);
    free((*set)->names[i]);
  }
  free(*set);
  *set = NULL;
}
int nrt_add_tensor_to_tensor_set(Set* set, const char* name, Tensor* t) {
  ENTER();
  if (!t->live) violation("freed tensor put into a set");
  __atomic_add_fetch(&t->sets, 1, __ATOMIC_SEQ_CST);
  set->names[set->count] = strdup(name);
  set->tensors[set->count++] = t;
  return OK;
}

/* ---- Models ---- */

static void parse_tensor(Model* m, char* line) {
  Info* info = &m->info->tensors[m->info->count++];
  char usage[16];
  int used = 0;
  sscanf(line, "%15s %255s %u %zu%n", usage, info->name, &info->dtype, &info->size,
         &used);
  info->usage = strcmp(usage, "input") != 0;
  *(info->usage ? &m->outputs : &m->inputs) += 1;
  info->shape = calloc(80, sizeof(uint32_t));
  for (char* next = line + used; info->ndim < 80; ++info->ndim) {
    char* end;
    info->shape[info->ndim] = strtoul(next, &end, 10);
    if (end == next) break;
    next = end;
  }
}
int nrt_load(const void* neff, size_t size, int32_t core, int32_t count, Model** out) {
  (void)count;
  ENTER();
  if (size == 0 || strncmp(neff, "input", 5)) return INVALID;
  Model* m = calloc(1, sizeof *m);
  m->live = true, m->core = core;
  m->info = calloc(1, sizeof(InfoArray) + MAX_TENSORS * sizeof(Info));
  char *text = strndup(neff, size), *rest = text, *line;
  while ((line = strtok_r(rest, "\n", &rest))) parse_tensor(m, line);
  free(text);
  *out = m;
  return OK;
}
int nrt_load_collectives(const void* neff, size_t size, int32_t core, int32_t count,
                         uint32_t rank, uint32_t world, Model** out) {
  (void)rank, (void)world;
  ENTER();
  return nrt_load(neff, size, core, count, out);
}
int nrt_unload(Model* m) {
  ENTER();
  if (!m->live) violation("second unload of a model");
  if (m->busy) violation("unload of a model in use");
  m->live = false;
  return OK;
}
int nrt_get_model_tensor_info(Model* m, InfoArray** info) {
  ENTER();
  *info = m->info;
  return OK;
}
int nrt_free_model_tensor_info(InfoArray* info) {
  (void)info;
  ENTER();
  return OK;
}

/* ---- Execution ---- */

static void mark(Model* m, Set* in, Set* out, int by) {
  if (!m->live) violation("execution of an unloaded model");
  __atomic_add_fetch(&m->busy, by, __ATOMIC_SEQ_CST);
  Set* sets[] = {in, out};
  for (int s = 0; s < 2; ++s)
    for (int i = 0; i < sets[s]->count; ++i) {
      if (!sets[s]->tensors[i]->live) violation("execution with a freed tensor");
      __atomic_add_fetch(&sets[s]->tensors[i]->busy, by, __ATOMIC_SEQ_CST);
    }
}
static int run(Model* m, Set* in, Set* out) {
  if (in->count != m->inputs || out->count != m->outputs) return INVALID;
  mark(m, in, out, 1);
  if (delay_us) usleep(delay_us);
  for (int i = 0; i < out->count && i < in->count; ++i)
    for (size_t b = 0; b < out->tensors[i]->size && b < in->tensors[i]->size; ++b)
      out->tensors[i]->data[b] = in->tensors[i]->data[b] + 1;
  if (tracing) __atomic_add_fetch(&events, events_per_execution, __ATOMIC_SEQ_CST);
  const void* last = __atomic_exchange_n(&last_model, m, __ATOMIC_SEQ_CST);
  if (tracing && events_per_execution && last && last != m)
    __atomic_add_fetch(&switches, 1, __ATOMIC_SEQ_CST);
  mark(m, in, out, -1);
  return OK;
}
int nrt_execute(Model* m, Set* in, Set* out) {
  ENTER();
  return run(m, in, out);
}

/* ---- Profiles and traces ---- */

int nrt_profile_start(Model* m, const char* file) {
  (void)m, (void)file;
  ENTER();
  return OK;
}
int nrt_profile_stop(const char* file) {
  (void)file;
  ENTER();
  return OK;
}
int nrt_sys_trace_config_allocate(void** config) {
  ENTER();
  *config = malloc(1);
  return OK;
}
void nrt_sys_trace_config_free(void* config) { free(config); }
void nrt_sys_trace_config_set_capture_enabled_for_nc(void* c, uint32_t nc, bool on) {
  (void)c, (void)nc;
  enter(on ? "capture on" : "capture off");
}
int nrt_sys_trace_start(void* config) {
  (void)config;
  ENTER();
  tracing = true;
  return OK;
}
int nrt_sys_trace_stop(void) {
  ENTER();
  tracing = false;
  return OK;
}
int nrt_sys_trace_fetch_options_allocate(void** options) {
  ENTER();
  *options = malloc(1);
  return OK;
}
void nrt_sys_trace_fetch_options_free(void* options) { free(options); }
void nrt_sys_trace_fetch_options_set_nc_idx(void* o, uint64_t nc) { (void)o, (void)nc; }
void nrt_sys_trace_buffer_free(char* buffer) { free(buffer); }
/* Executions 1 ms long, 10 ms apart; switches of 2 ms. */
int nrt_sys_trace_fetch_events(char** buffer, size_t* size, const void* options) {
  (void)options;
  ENTER();
  *buffer = malloc(300 * (events + switches + 1));
  char* end = *buffer + sprintf(*buffer, "{\"events\":[");
  const char* format =
      "%s{\"event_type\":\"%s\",\"phase\":\"%s\",\"tracking_id\":%d,"
      "\"data\":{\"nc_timestamp_ns\":%lld}}";
  for (int i = first_event; i < first_event + events; ++i) {
    const char *type = "nc_exec_running", *comma = i > first_event ? "," : "";
    end += sprintf(end, format, comma, type, "start", i, i * 10000000LL);
    end += sprintf(end, format, ",", type, "stop", i, i * 10000000LL + 1000000);
  }
  for (int i = first_switch; i < first_switch + switches; ++i) {
    const char *type = "nrt_model_switch", *comma = events || i > first_switch ? "," : "";
    end += sprintf(end, format, comma, type, "start", i, i * 10000000LL);
    end += sprintf(end, format, ",", type, "stop", i, i * 10000000LL + 2000000);
  }
  first_switch += switches;
  switches = 0;
  *size = end + sprintf(end, "]}") - *buffer;
  first_event += events;
  events = 0;
  return OK;
}

/* ---- Asynchronous execution ---- */

#ifdef FAKE_ASYNC
typedef struct {
  Model* model;
  Set *in, *out;
  int* result;
  uint64_t sequence;
} Request;

static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static Request queue[MAX_INFLIGHT];
static uint64_t submitted, completed;
static struct {
  uint64_t sequence;
  int fd;
} waiter;
static const uint64_t COMPUTE = 1ull << 48;

static void* work(void* unused) {
  (void)unused;
  pthread_mutex_lock(&lock);
  for (;;) {
    while (completed == submitted) pthread_cond_wait(&changed, &lock);
    Request* r = &queue[completed % MAX_INFLIGHT];
    pthread_mutex_unlock(&lock);
    int status = enter("completion");
    *r->result = status ? status : run(r->model, r->in, r->out);
    pthread_mutex_lock(&lock);
    ++completed;
    if (waiter.sequence == r->sequence && waiter.fd >= 0) eventfd_write(waiter.fd, 1);
  }
  return NULL;
}
int nrta_execute_schedule(Model* m, Set* in, Set* out, int unit, int* result,
                          uint64_t* sequence) {
  (void)unit;
  ENTER();
  static pthread_t worker;
  pthread_mutex_lock(&lock);
  if (!worker) pthread_create(&worker, NULL, work, NULL);
  bool full = submitted - completed == MAX_INFLIGHT;
  if (!full) {
    *sequence = COMPUTE | (submitted + 1);
    queue[submitted++ % MAX_INFLIGHT] = (Request){m, in, out, result, *sequence};
    pthread_cond_signal(&changed);
  }
  pthread_mutex_unlock(&lock);
  return full ? QUEUE_FULL : OK;
}
int nrta_is_completed(uint64_t sequence, bool* done) {
  pthread_mutex_lock(&lock);
  *done = (sequence & ~COMPUTE) <= completed;
  pthread_mutex_unlock(&lock);
  return OK;
}
int nrta_event_register_seq_id_completion(uint64_t sequence, int fd) {
  pthread_mutex_lock(&lock);
  waiter.sequence = sequence, waiter.fd = fd;
  if (fd >= 0 && (sequence & ~COMPUTE) <= completed) eventfd_write(fd, 1);
  pthread_mutex_unlock(&lock);
  return OK;
}
#endif
