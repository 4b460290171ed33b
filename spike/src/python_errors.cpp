#include "python_errors.h"

#include "nrt_wrapper.h"

namespace nb = nanobind;

namespace spike {
namespace {

struct ErrorTypes {
  nb::object base, spike, nrt, file;
};

// Never destroyed: Python may be gone by then.
ErrorTypes& error_types() {
  static auto* types = new ErrorTypes;
  return *types;
}

nb::object make_error(nb::module_& m, const char* name, const char* doc,
                      nb::handle bases, nb::dict attributes = {}) {
  std::string qualified = std::string("spike._spike.") + name;
  nb::object type = nb::steal(
      PyErr_NewExceptionWithDoc(qualified.c_str(), doc, bases.ptr(), attributes.ptr()));
  m.attr(name) = type;
  return type;
}

nb::dict status_attributes(int status) {
  nb::dict attributes;
  for (auto* name : {"status", "error_code", "code"}) attributes[name] = status;
  attributes["status_name"] = status_name(status);
  return attributes;
}

void raise_nrt(const NrtError& error) {
  nb::object raised = error_types().nrt(error.what());
  for (auto [name, value] : status_attributes(error.status))
    nb::setattr(raised, name, value);
  PyErr_SetObject(error_types().nrt.ptr(), raised.ptr());
}

void translate(const std::exception_ptr& thrown, void*) {
  try {
    std::rethrow_exception(thrown);
  } catch (const NeffFileError& error) {
    PyErr_SetString(error_types().file.ptr(), error.what());
  } catch (const SpikeError& error) {
    PyErr_SetString(error_types().spike.ptr(), error.what());
  } catch (const NrtError& error) {
    raise_nrt(error);
  }
}

}  // namespace

void define_errors(nb::module_& m) {
  ErrorTypes& types = error_types();
  types.base =
      make_error(m, "SpikeRuntimeError", "What spike raises.", PyExc_RuntimeError);
  types.spike =
      make_error(m, "SpikeError", "A mistake that spike itself finds.", types.base);
  types.nrt =
      make_error(m, "NrtError",
                 "A failure that libnrt reports: number and name of its status.\n\n"
                 "`error_code` and `code` are other names of `status`.",
                 types.base, status_attributes(NRT_FAILURE));
  types.file = make_error(m, "NeffFileError",
                          "A NEFF file that cannot be read; status is NRT_FAILURE.",
                          nb::make_tuple(types.spike, types.nrt));
  nb::register_exception_translator(translate);
}

void raise_from_python_error(const char* text) {
  nb::python_error cause;
  nb::raise_from(cause, error_types().spike.ptr(), "Spike Error: %s: %s", text,
                 cause.what());
}

}  // namespace spike
