// The engine in this process, reached through the functions of engine_api.h.

#include <chrono>
#include <cstdlib>
#include <utility>

#include "engine.h"
#include "engine_api.h"
#include "engine_interpreter.h"
#include "status.h"

namespace emulator {
namespace {

std::string take_text(char* text) {
  std::string result = text != nullptr ? text : "";
  std::free(text);
  return result;
}

[[noreturn]] void fail(int status, const std::string& text, void* interrupt) {
  const auto code = static_cast<NRT_STATUS>(status);
  if (interrupt == nullptr) throw StatusError(code, text);
  throw Interrupted(code, text, own_object(interrupt));
}

class PythonProgram final : public Program {
 public:
  PythonProgram(const nkipy_device_api& api, nkipy_program* program,
                ProgramDescription description, std::chrono::milliseconds timeout)
      : Program(std::move(description)),
        api_(api),
        program_(program),
        timeout_(timeout) {}
  ~PythonProgram() override { api_.unload(program_); }

  void execute(const std::vector<Place>& inputs, const std::vector<Place>& outputs,
               const std::shared_ptr<const void>& user,
               const Printer& printer) override {
    // Kept by each thread, so that a warm execution allocates nothing.
    thread_local std::vector<std::uint64_t> in, out;
    collect(inputs, &in);
    collect(outputs, &out);
    const nkipy_keeper keeper{keep, release, &user};
    const nkipy_printer to_streams{print, &printer};
    char* error = nullptr;
    void* interrupt = nullptr;
    const int status = api_.execute(program_, in.data(), out.data(),
                                    static_cast<std::uint64_t>(timeout_.count()),
                                    &keeper, &to_streams, &error, &interrupt);
    if (status != 0) fail(status, take_text(error), interrupt);
  }

 private:
  std::string estimate() override {
    char* text = nullptr;
    const int status = api_.estimate(program_, &text);
    std::string answer = take_text(text);
    if (status != 0) throw StatusError(static_cast<NRT_STATUS>(status), answer);
    return answer;
  }

  using User = std::shared_ptr<const void>;
  static void* keep(const void* user) {
    return new User(*static_cast<const User*>(user));
  }
  static void release(void* share) { delete static_cast<User*>(share); }
  static void print(const void* printer, std::uint32_t rank, const char* prefix,
                    const char* dtype, const std::uint64_t* shape,
                    std::size_t dimensions, const void* data, std::size_t size) {
    (*static_cast<const Printer*>(printer))(
        rank, {prefix, 0, dtype, {shape, shape + dimensions}, data, size});
  }

  static void collect(const std::vector<Place>& places,
                      std::vector<std::uint64_t>* addresses) {
    addresses->clear();
    for (const Place& place : places) {
      addresses->push_back(reinterpret_cast<std::uint64_t>(place.address));
    }
  }

  const nkipy_device_api& api_;
  nkipy_program* program_;
  const std::chrono::milliseconds timeout_;
};

class PythonEngine final : public Engine {
 public:
  PythonEngine(const nkipy_device_api& api, std::chrono::milliseconds timeout)
      : api_(api), timeout_(timeout) {}
  ~PythonEngine() override { api_.close(); }

  void all_gather(const Meeting& meeting, const void* data, std::size_t size,
                  void* result) override {
    char* text = nullptr;
    void* interrupt = nullptr;
    const int status = api_.all_gather(meeting.to_json().c_str(), data, size, result,
                                       size * meeting.ranks, &text, &interrupt);
    if (status != 0) fail(status, take_text(text), interrupt);
  }

  std::shared_ptr<Program> load(const void* neff, std::size_t size,
                                const LoadSettings& settings) override {
    nkipy_program* program = nullptr;
    char* text = nullptr;
    void* interrupt = nullptr;
    const std::string options = settings.to_json();
    const int status =
        api_.load(neff, size, options.c_str(), &program, &text, &interrupt);
    std::string answer = take_text(text);
    if (status != 0) fail(status, answer, interrupt);
    return wrap(program, answer);
  }

 private:
  std::shared_ptr<Program> wrap(nkipy_program* program, const std::string& answer) {
    try {
      return std::make_shared<PythonProgram>(
          api_, program, ProgramDescription::parse(answer), timeout_);
    } catch (...) {
      api_.unload(program);
      throw;
    }
  }

  const nkipy_device_api& api_;
  const std::chrono::milliseconds timeout_;  // of an execution
};

}  // namespace

std::shared_ptr<Engine> make_python_engine(const Environment& environment) {
  std::string error;
  const void* table = import_capsule(NKIPY_DEVICE_API_CAPSULE, "CAPSULE",
                                     NKIPY_DEVICE_API_CAPSULE, &error);
  if (table == nullptr) {
    throw StatusError(NRT_FAILURE,
                      "the engine cannot be used in this process: " + error +
                          ". NKIPY_EMULATOR_ENGINE=child runs it in "
                          "another one");
  }
  const auto& api = *static_cast<const nkipy_device_api*>(table);
  if (api.version != NKIPY_DEVICE_API_VERSION) {
    throw StatusError(NRT_FAILURE, "the engine in this process is of another version");
  }
  return std::make_shared<PythonEngine>(api, environment.execution_timeout);
}

}  // namespace emulator
