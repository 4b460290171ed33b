// Functions of compiled programs, as spike_torch.programs makes them.

#include <torch/csrc/Dtype.h>

#include "programs.h"
#include "statistics.h"

using namespace nanobind::literals;

namespace spike_torch {
namespace {

// Tokens: ints, and texts: "+" and so on, and "$0" for the symbol 0.
using Tokens = std::vector<nb::object>;
using Dimensions = std::vector<std::vector<Tokens>>;

at::ScalarType dtype_of(nb::handle dtype) {
  TORCH_CHECK_TYPE(THPDtype_Check(dtype.ptr()), "nkipy: expected a torch.dtype");
  return reinterpret_cast<THPDtype*>(dtype.ptr())->scalar_type;
}

Expression::Token token_of(const nb::object& token) {
  using Kind = Expression::Kind;
  if (PyLong_Check(token.ptr())) return {Kind::kConstant, nb::cast<int64_t>(token)};
  const auto text = nb::cast<std::string>(token);
  if (text.size() > 1 && text[0] == '$')
    return {Kind::kSymbol, std::stoll(text.substr(1))};
  static const std::map<std::string, Kind> operators = {
      {"+", Kind::kAdd},          {"-", Kind::kSubtract}, {"*", Kind::kMultiply},
      {"//", Kind::kFloorDivide}, {"%", Kind::kModulo},   {"min", Kind::kMinimum},
      {"max", Kind::kMaximum}};
  const auto found = operators.find(text);
  TORCH_CHECK_VALUE(found != operators.end(), "nkipy: no operator of sizes: '", text,
                    "'");
  return {found->second, 0};
}

Expression expression_of(const Tokens& tokens, size_t symbols) {
  std::vector<Expression::Token> made;
  for (const nb::object& token : tokens) made.push_back(token_of(token));
  return Expression(std::move(made), symbols);
}

std::vector<Dimension> dimensions_of(const Dimensions& given, size_t symbols) {
  std::vector<Dimension> made;
  for (const auto& factors : given) {
    Dimension& dimension = made.emplace_back();
    for (const Tokens& tokens : factors)
      dimension.push_back(expression_of(tokens, symbols));
  }
  return made;
}

Buckets buckets_of(const std::string& rule, Values numbers) {
  using Rule = Buckets::Rule;
  Buckets made;
  if (rule == "listed") {
    made.rule = Rule::kListed;
    made.listed = std::move(numbers);
  } else if (rule == "powers of two" || rule == "linear") {
    made.rule = rule == "linear" ? Rule::kLinear : Rule::kPowersOfTwo;
    made.first = numbers.at(0);
    made.step = numbers.at(1);
    made.most = numbers.at(2);
    made.limit = numbers.at(3);
  } else {
    made.rule = rule == "one" ? Rule::kOne : Rule::kExact;
  }
  return made;
}

using PythonSymbol = std::tuple<std::string, size_t, int, std::string, Values>;
using PythonInput = std::tuple<int64_t, nb::object, Dimensions, bool, Values>;
using PythonResult = std::tuple<nb::object, Dimensions, int64_t>;
using PythonReturn = std::tuple<std::string, size_t, Values, bool, bool, Tokens>;

ReturnSpec return_of(const PythonReturn& given, size_t symbols) {
  using Kind = ReturnSpec::Kind;
  const auto& [kind, index, permutation, is_padded, is_copied, tokens] = given;
  ReturnSpec made{Kind::kNone, index, permutation, is_padded, is_copied, {}};
  if (kind == "result") made.kind = Kind::kResult;
  if (kind == "argument") made.kind = Kind::kArgument;
  if (kind == "number") {
    made.kind = Kind::kNumber;
    made.number = expression_of(tokens, symbols);
  }
  return made;
}

void make_function(Function* place, std::string name,
                   std::vector<std::string> arguments,
                   const std::vector<PythonSymbol>& symbols,
                   const std::vector<PythonInput>& inputs,
                   const std::vector<PythonResult>& results,
                   const std::vector<PythonReturn>& returns, int core, bool may_compile,
                   bool pads_on_device, bool keeps_outputs_on_device, bool is_counted,
                   nb::object compile) {
  Description made;
  made.name = std::move(name);
  made.arguments = std::move(arguments);
  for (const auto& [symbol, argument, dimension, rule, numbers] : symbols)
    made.symbols.push_back({symbol, argument, dimension, buckets_of(rule, numbers)});
  const size_t count = symbols.size();
  for (const auto& [argument, dtype, dimensions, is_written, permutation] : inputs)
    made.inputs.push_back({argument, dtype_of(dtype), dimensions_of(dimensions, count),
                           is_written, permutation});
  for (const InputSpec& input : made.inputs) {
    made.writes = made.writes || input.is_written;
    if (input.argument >= 0 &&
        (made.first_tensor < 0 || input.argument < made.first_tensor))
      made.first_tensor = input.argument;
  }
  for (const auto& [dtype, dimensions, input] : results)
    made.results.push_back({dtype_of(dtype), dimensions_of(dimensions, count), input});
  for (const auto& each : returns) made.returns.push_back(return_of(each, count));
  made.core = static_cast<c10::DeviceIndex>(core);
  made.may_compile = may_compile;
  made.pads_on_device = pads_on_device;
  made.keeps_outputs_on_device = keeps_outputs_on_device;
  made.is_counted = is_counted;
  new (place) Function(std::move(made), std::move(compile));
}

// What compiles is often what has the function.
int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (!nb::inst_ready(self)) return 0;
  Py_VISIT(nb::inst_ptr<Function>(self)->compile.ptr());
  return 0;
}
int clear(PyObject* self) {
  nb::inst_ptr<Function>(self)->compile.reset();
  return 0;
}
PyType_Slot kSlots[] = {{Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                        {Py_tp_clear, reinterpret_cast<void*>(clear)},
                        {0, nullptr}};

nb::dict statistics_dict() {
  const Statistics found = statistics();
  nb::dict hits, made;
  for (const auto& [buckets, count] : found.bucket_hits)
    hits[nb::tuple(nb::cast(buckets))] = count;
  made["total_executions"] = found.executions;
  made["total_compile_count"] = found.compilations;
  made["bucket_hits"] = hits;
  made["total_pad_ratio_sum"] = found.pad_ratio_sum;
  made["total_execution_time_ms"] = found.total_ms;
  made["min_execution_time_ms"] = found.least_ms;
  made["max_execution_time_ms"] = found.most_ms;
  made["total_h2d_time_ms"] = found.h2d_ms;
  made["total_nrt_exec_time_ms"] = found.run_ms;
  made["total_d2h_time_ms"] = found.d2h_ms;
  return made;
}

}  // namespace

void define_programs(nb::module_& m) {
  nb::class_<CallLock>(m, "CallLock", "A program's: held by who unloads it.")
      .def("acquire", &CallLock::acquire, "blocking"_a = true)
      .def("release", &CallLock::release)
      .def("__enter__", [](CallLock& self) { return self.acquire(true); })
      .def(
          "__exit__", [](CallLock& self, nb::args) { self.release(); },
          nb::arg().none());
  nb::class_<Variant>(m, "Variant", nb::is_weak_referenceable(),
                      "A program for some sizes, as spike_torch.programs makes it.")
      .def(nb::init<nb::object, std::vector<std::string>, std::vector<Factors>,
                    std::vector<Factors>>(),
           "resident"_a, "names"_a, "inputs"_a, "results"_a)
      .def_prop_ro("resident", [](const Variant& self) { return self.resident(); })
      .def_prop_ro(
          "lock", [](Variant& self) -> CallLock& { return self.lock; },
          nb::rv_policy::reference_internal)
      .def_prop_ro("prepared_calls", [](Variant& self) { return self.calls.size(); })
      .def("take", &Variant::take, "model"_a)
      .def("release", &Variant::release);
  nb::class_<Function>(m, "Function", nb::type_slots(kSlots))
      .def("__init__", make_function, "name"_a, "arguments"_a, "symbols"_a, "inputs"_a,
           "results"_a, "returns"_a, "core"_a, "may_compile"_a, "pads_on_device"_a,
           "keeps_outputs_on_device"_a, "is_counted"_a, "compile"_a)
      .def(
          "__call__",
          [](Function& self, nb::handle arguments, std::optional<Values> sizes,
             std::optional<bool> to_cpu, std::optional<std::string> profile) {
            return call(self, arguments,
                        {std::move(sizes), to_cpu, std::move(profile)});
          },
          "arguments"_a, "sizes"_a = nb::none(), "to_cpu"_a = nb::none(),
          "profile"_a = nb::none())
      .def("buckets_of", &Function::buckets_of, "sizes"_a)
      .def("sizes_of",
           [](const Function& self, nb::handle arguments) {
             return read_symbols(self.description, nb::tuple(nb::borrow(arguments)));
           })
      .def(
          "variant",
          [](Function& self, const Values& buckets) { return self.variant(buckets); },
          "buckets"_a)
      .def("compiled", &Function::compiled);
  m.def("statistics", statistics_dict);
  m.def("reset_statistics", reset_statistics);
  m.def("fill_padding", set_padding_filled, "is_filled"_a);
}

}  // namespace spike_torch
