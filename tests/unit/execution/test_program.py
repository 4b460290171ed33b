"""Module, build, load, bind, execute: without a tracer."""

from __future__ import annotations

import ast
import gc
import threading

import numpy as np
import pytest

import spike
from nkipy.compiler import artifact_key
from nkipy.compiler.driver import Compiler
from nkipy.execution import LOADED, BindingError, BuildOptions, build, load, simulate
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.dtypes import float32
from nkipy.hlo.ir import MUST_ALIAS_SUFFIX, AliasInfo, HLOInstruction, HLOModule
from nkipy.testing import run_python
from spike import SpikeTensor
from spike.device_array import SpikeArray

pytestmark = pytest.mark.device
F32 = np.float32


def affine(name="affine"):
    """y = x * w + b, of four."""
    module = HLOModule(name)
    x, w, b = (module.add_parameter((4,), float32, n) for n in "xwb")
    builder = HLOBuilder(module.entry)
    product = builder.binary("multiply", x, w)
    module.set_results([builder.binary("add", product, b)], ["y"])
    module.verify()
    return module


def step():
    """total += x, in place; also returns twice the new total."""
    module = HLOModule("step")
    total = module.add_parameter((4,), float32, "total" + MUST_ALIAS_SUFFIX)
    x = module.add_parameter((4,), float32, "x")
    builder = HLOBuilder(module.entry)
    new = builder.binary("add", total, x)
    module.set_results([new, builder.binary("add", new, new)], ["total", "twice"])
    module.aliases = [AliasInfo(0, 0, "total", False)]
    module.verify()
    return module


def of(*values):
    return np.array(values, F32)


def on_device(*values):
    return SpikeTensor.from_numpy(of(*values))


@pytest.fixture(scope="module")
def program():
    return load(build(affine()))


W, B, X = of(1, 2, 3, 4), of(1, 1, 1, 1), of(5, 6, 7, 8)


def test_parameters_stay_and_results_are_overwritten(program):
    bound = program.bind({"w": on_device(*W), "b": on_device(*B)})
    assert bound.input_names == ("x", "w", "b") and bound.output_names == ("y",)
    first = bound({"x": X})["y"]
    np.testing.assert_array_equal(first.numpy(), X * W + B)
    second = bound({"x": X + 1})["y"]
    assert second is first
    np.testing.assert_array_equal(first.numpy(), (X + 1) * W + B)
    on_the_device = bound({"x": on_device(*X)})["y"]
    np.testing.assert_array_equal(on_the_device.numpy(), X * W + B)


def test_results_may_be_given_or_fresh(program):
    y = SpikeTensor.zeros(4, F32)
    inputs = {"x": on_device(*X), "w": on_device(*W), "b": on_device(*B)}
    bound = program.bind(inputs, {"y": y})
    assert bound()["y"] is y
    np.testing.assert_array_equal(y.numpy(), X * W + B)
    made = []

    def allocate(shape, dtype, name, core_id):
        made.append((shape, dtype, name, core_id))
        return SpikeTensor.empty(shape, dtype, name, core_id)

    bound = program.bind(inputs, fresh_outputs=True, allocate=allocate)
    first, second = bound()["y"], bound()["y"]
    assert first is not second and made == [((4,), float32, "y", 0)] * 2
    np.testing.assert_array_equal(first.numpy(), second.numpy())


def test_bindings_of_one_program_do_not_see_each_other(program):
    calls = [program.bind({"w": on_device(*W * n), "b": on_device(*B)}) for n in (1, 2)]
    results = [call({"x": X})["y"] for call in calls]
    np.testing.assert_array_equal(results[0].numpy(), X * W + B)
    np.testing.assert_array_equal(results[1].numpy(), X * W * 2 + B)
    assert results[0].tensor_ref is not results[1].tensor_ref


def test_aliases_are_written_in_place():
    program = load(build(step()))
    assert program.aliases == {"total": "total"}
    total = on_device(0, 0, 0, 0)
    bound = program.bind({"total": total})
    for n in (1, 2):
        results = bound({"x": X})
        assert results["total"] is total
        np.testing.assert_array_equal(total.numpy(), X * n)
        np.testing.assert_array_equal(results["twice"].numpy(), X * 2 * n)
    # What comes from the host is written into memory of the binding's own.
    host = X.copy()
    results = program.bind()({"total": host, "x": X})
    np.testing.assert_array_equal(results["total"].numpy(), X * 2)
    np.testing.assert_array_equal(host, X)


class View:
    """Part of a device's memory that can be moved, as torch's tensors can."""

    def __init__(self, tensor, offset=0, strides=(4,), core=0):
        self.tensor, self.offset, self.strides = tensor, offset, strides
        self.core = core
        self.asked = 0

    def __spike_array__(self):
        self.asked += 1
        ref = self.tensor.tensor_ref
        token = (id(ref), self.offset)
        return SpikeArray(
            ref, self.offset, (4,), self.strides, float32, self.core, token
        )


def test_an_array_that_has_moved_is_bound_again(program):
    memory = SpikeTensor.from_numpy(np.arange(12, dtype=F32))
    view = View(memory, 16)
    bound = program.bind({"x": view, "w": on_device(*W), "b": on_device(*B)})
    np.testing.assert_array_equal(bound()["y"].numpy(), of(4, 5, 6, 7) * W + B)
    before = view.asked
    bound()
    assert view.asked == before + 1
    view.offset = 32
    np.testing.assert_array_equal(bound()["y"].numpy(), of(8, 9, 10, 11) * W + B)
    view.tensor = SpikeTensor.from_numpy(np.zeros(12, F32))
    np.testing.assert_array_equal(bound()["y"].numpy(), B)
    view.strides = (8,)
    with pytest.raises(BindingError, match=r"'x' has strides \(8,\)"):
        program.bind({"x": view})


def test_a_result_that_has_moved_is_bound_again(program):
    memory = SpikeTensor.from_numpy(np.zeros(12, F32))
    target = View(memory, 16)
    bound = program.bind({"w": on_device(*W), "b": on_device(*B)}, {"y": target})
    assert bound({"x": X})["y"] is target
    target.offset = 32
    bound({"x": X + 1})
    expected = [np.zeros(4), X * W + B, (X + 1) * W + B]
    np.testing.assert_array_equal(memory.numpy().reshape(3, 4), expected)
    # Onto a parameter: in the way only now.
    x = on_device(*X)
    bound = program.bind(
        {"x": x, "w": on_device(*W), "b": on_device(*B)}, {"y": target}
    )
    bound()
    target.tensor, target.offset = x, 0
    with pytest.raises(BindingError, match="'y' is written into.*'x' too"):
        bound()
    np.testing.assert_array_equal(x.numpy(), X)


def test_fresh_results_are_fresh_where_they_alias_what_the_host_passed():
    bound = load(build(step())).bind(fresh_outputs=True)
    calls = [bound({"total": X * n, "x": X}) for n in (1, 2)]
    for n, results in zip((1, 2), calls):
        np.testing.assert_array_equal(results["total"].numpy(), X * (n + 1))
        np.testing.assert_array_equal(results["twice"].numpy(), X * 2 * (n + 1))


def test_a_freed_array_is_an_error_and_the_call_goes_on(program):
    w = on_device(*W)
    bound = program.bind({"w": w, "b": on_device(*B)})
    y = bound({"x": X})["y"]
    y.close()
    again = bound({"x": X})["y"]  # its own are made anew
    np.testing.assert_array_equal(again.numpy(), X * W + B)
    w.close()
    with pytest.raises(spike.SpikeError):
        bound({"x": X})


def test_what_does_not_fit_is_refused(program):
    x = on_device(*X)
    with pytest.raises(BindingError, match="unknown parameter 'z'.* x, w, b"):
        program.bind({"z": x})
    with pytest.raises(BindingError, match="'x' is float32.2. on the device.*4"):
        program.bind({"x": on_device(1, 2)})
    with pytest.raises(BindingError, match="'x' is int32"):
        program.bind({"x": SpikeTensor.from_numpy(np.zeros(4, np.int32))})
    with pytest.raises(BindingError, match="'x' is bound to a ndarray"):
        program.bind({"x": X})
    with pytest.raises(BindingError, match="'b' has not been given"):
        program.bind({"x": x, "w": x})()
    with pytest.raises(BindingError, match="'x' is bound already"):
        program.bind({"x": x})({"x": X, "w": W, "b": B})
    with pytest.raises(BindingError, match="'x' is float64"):
        program.bind()({"x": X.astype(float), "w": W, "b": B})
    with pytest.raises(BindingError, match="'y' is written into.*'x' too"):
        program.bind({"x": x, "w": x, "b": x}, {"y": x})()
    with pytest.raises(BindingError, match="'total'.*takes no array"):
        load(build(step())).bind({}, {"total": x})


def test_a_result_that_is_fed_back_is_refused_with_a_way_out(program):
    bound = program.bind({"w": on_device(*W), "b": on_device(*B)})
    first = bound({"x": X})["y"]
    with pytest.raises(BindingError, match="'y'.*'x' too; .*fresh_outputs=True"):
        bound({"x": first})
    fresh = program.bind({"w": on_device(*W), "b": on_device(*B)}, fresh_outputs=True)
    second = fresh({"x": fresh({"x": X})["y"]})["y"]
    np.testing.assert_array_equal(second.numpy(), (X * W + B) * W + B)


@pytest.mark.parametrize("run", [lambda m: load(build(m)), simulate])
def test_arrays_of_the_other_byte_order(run):
    bound, swapped = run(affine()).bind(), F32(0).dtype.newbyteorder()
    for _ in range(2):  # bound first, then known
        results = bound({"x": X.astype(swapped), "w": W.astype(swapped), "b": B})
        np.testing.assert_array_equal(np.asarray(results["y"]), X * W + B)
    with pytest.raises(BindingError, match=r"'x' is float32\[2\] of the other byte"):
        bound({"x": X[:2].astype(swapped), "w": W, "b": B})


def test_results_are_written_in_this_machines_byte_order():
    swapped = np.zeros(4, F32(0).dtype.newbyteorder())
    with pytest.raises(BindingError, match=r"'y' takes .* received .*other byte order"):
        simulate(affine()).bind({}, {"y": swapped})
    with pytest.raises(BindingError, match="'total' is written.*other byte order"):
        simulate(step()).bind({"total": swapped})
    swapped.flags.writeable = False
    with pytest.raises(BindingError, match="read-only"):
        simulate(affine()).bind({}, {"y": swapped})


@pytest.mark.parametrize("run", [lambda m: load(build(m)), simulate])
def test_arrays_of_another_meaning_are_refused(run):
    masked = np.ma.masked_array(X, mask=[0, 1, 0, 0])
    with pytest.raises(BindingError, match="'x' is a masked array.*two arrays"):
        run(affine()).bind()({"x": masked, "w": W, "b": B})
    with pytest.raises(BindingError, match="'x' is a masked array.*two arrays"):
        simulate(affine()).bind({"x": masked})


@pytest.mark.parametrize("run", [lambda m: load(build(m)), simulate])
def test_one_parameter_by_two_names_is_refused(run):
    names, bound = ("total", "total" + MUST_ALIAS_SUFFIX), run(step()).bind()
    for first, second in (names, reversed(names)):
        with pytest.raises(BindingError, match=f"'total' is given.*'{first}'.*"):
            bound({first: X, second: W, "x": B})
    for name in names:
        results = bound({name: X.copy(), "x": B})
        np.testing.assert_array_equal(np.asarray(results["twice"]), 2 * (X + B))


def test_another_core_is_refused(program):
    elsewhere = View(on_device(*X), core=1)
    with pytest.raises(BindingError, match="'x' is on core 1, but.*core 0"):
        program.bind({"x": elsewhere})


def test_bound_calls_survive_unloading(program):
    bound = program.bind({"w": on_device(*W), "b": on_device(*B)})
    kept = bound({"x": X})["y"]
    program.unload()
    assert not program.is_loaded
    np.testing.assert_array_equal(kept.numpy(), X * W + B)
    again = bound({"x": X + 1})["y"]
    assert program.is_loaded and again is kept
    np.testing.assert_array_equal(again.numpy(), (X + 1) * W + B)


def test_loaded_programs_are_bounded():
    LOADED.evict()
    held, before = len(LOADED), LOADED.limit  # others' count, too
    programs = [load(build(affine(f"affine{n}"))) for n in range(3)]
    try:
        LOADED.limit = held + 2
        for each in programs:
            each.bind()({"x": X, "w": W, "b": B})
        assert [p.is_loaded for p in programs] == [False, True, True]
    finally:
        LOADED.limit = before


def test_a_program_that_loads_while_another_thread_unloads_it_counts(monkeypatch):
    program = load(build(affine("unloading")))
    bound = program.bind({"w": on_device(*W), "b": on_device(*B)})
    bound({"x": X})
    call = threading.Thread(target=lambda: bound({"x": X}))
    discard = LOADED.discard

    def discard_late(unloaded):
        call.start()
        call.join(0.5)  # as far as it comes before the program is forgotten
        discard(unloaded)

    with monkeypatch.context() as patched:
        patched.setattr(LOADED, "discard", discard_late)
        program.unload()
    call.join()
    assert program.is_loaded and LOADED.newest == id(program)


def test_a_bound_call_from_threads(program):
    bound = program.bind({"w": on_device(*W), "b": on_device(*B)}, fresh_outputs=True)
    wrong = []

    def work(n):
        for _ in range(20):
            y = bound({"x": X * n})["y"].numpy()
            if not np.array_equal(y, X * n * W + B):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    program.unload()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.filterwarnings("ignore:spike.reset")
def test_what_a_reset_of_the_runtime_leaves(program):
    whole = program.bind()
    bound = program.bind({"w": on_device(*W), "b": on_device(*B)})
    whole({"x": X, "w": W, "b": B})
    bound({"x": X})
    spike.reset()
    with pytest.raises(spike.SpikeError):
        bound({"x": X})
    y = whole({"x": X, "w": W, "b": B})["y"]
    np.testing.assert_array_equal(y.numpy(), X * W + B)


def test_memory_goes_with_the_binding(program):
    program.bind()({"x": X, "w": W, "b": B})
    gc.collect()
    runtime = spike.get_spike_singleton()
    before = runtime.memory_stats(0)[0]
    bound = program.bind()
    bound({"x": X, "w": W, "b": B})
    assert runtime.memory_stats(0)[0] > before
    del bound
    gc.collect()
    assert runtime.memory_stats(0)[0] == before


# ---------------------------------------------------------------------------- building


def test_the_key_is_module_target_options_and_what_the_client_adds():
    module = affine()
    options = [
        BuildOptions(),
        BuildOptions(additional_compiler_args="--auto-cast all"),
        BuildOptions(extra_key=b"client 1"),
        BuildOptions(extra_key=b"client 2"),
    ]
    keys = {artifact_key(module, each) for each in options}
    assert len(keys) == len(options)
    assert artifact_key(affine(), options[2]) == artifact_key(module, options[2])
    assert artifact_key(step(), options[0]) not in keys


def test_an_empty_array_has_no_place_on_a_device(tmp_path, monkeypatch):
    module = HLOModule("empty")
    x = module.add_parameter((0,), float32, "x")
    module.set_results([HLOBuilder(module.entry).binary("add", x, x)], ["y"])
    with pytest.raises(BindingError, match="'x' of the program has no elements"):
        load(build(module))


# -------------------------------------------------------------------------- simulating


def test_the_simulator_has_the_same_interface():
    w = W.copy()
    bound = simulate(affine()).bind({"w": w, "b": B})
    np.testing.assert_array_equal(bound({"x": X})["y"], X * W + B)
    w *= 2  # memory of the host is read at each call
    np.testing.assert_array_equal(bound({"x": X})["y"], X * W * 2 + B)
    y = np.zeros(4, F32)
    assert simulate(affine()).bind(outputs={"y": y})({"x": X, "w": W, "b": B})["y"] is y
    np.testing.assert_array_equal(y, X * W + B)
    total = np.zeros(4, F32)
    results = simulate(step()).bind({"total": total})({"x": X})
    assert results["total"] is total
    np.testing.assert_array_equal(total, X)
    np.testing.assert_array_equal(results["twice"], X * 2)


def test_what_does_not_fit_the_simulator_is_refused():
    program = simulate(step())
    read_only = X.copy()
    read_only.flags.writeable = False
    with pytest.raises(BindingError, match="'total' is written into.*writable"):
        program.bind({"total": read_only})
    with pytest.raises(BindingError, match="'x' has not been given"):
        program.bind({"total": X.copy()})()
    with pytest.raises(BindingError, match="'x' is float32.2., but.*4"):
        program.bind()({"total": X.copy(), "x": X[:2]})
    with pytest.raises(BindingError, match="'twice' takes a writable"):
        program.bind(outputs={"twice": X[::2]})
    with pytest.raises(BindingError, match="'total' is written into a parameter"):
        program.bind(outputs={"total": X})


def both():
    """s = x + w, p = x * w, of four."""
    module = HLOModule("both")
    x, w = (module.add_parameter((4,), float32, n) for n in "xw")
    builder = HLOBuilder(module.entry)
    results = [builder.binary(op, x, w) for op in ("add", "multiply")]
    module.set_results(results, ["s", "p"])
    module.verify()
    return module


@pytest.mark.parametrize("where", ["simulator", "device"])
def test_results_share_memory_with_nothing(where):
    if where == "device":
        program, memory = load(build(both())), SpikeTensor.from_numpy(np.ones(12, F32))

        def part(first):
            return View(memory, first * 4)

    else:
        program, memory = simulate(both()), np.ones(12, F32)

        def part(first):
            return memory[first : first + 4]

    for targets in ({"s": part(0), "p": part(0)}, {"s": part(0), "p": part(3)}):
        with pytest.raises(BindingError, match="'s' is written into memory .* 'p' too"):
            program.bind(outputs=targets)({"x": X, "w": W})
    with pytest.raises(BindingError, match="'p' is written into memory .* 'w' too"):
        program.bind(outputs={"p": part(2)})({"x": X, "w": part(0)})
    with pytest.raises(BindingError, match="'s' is written into memory .* 'x' too"):
        program.bind({"x": part(0)}, {"s": part(1)})({"w": W})
    program.bind({"x": part(8)}, {"s": part(0), "p": part(4)})({"w": W})
    got = memory if where == "simulator" else memory.numpy()
    np.testing.assert_array_equal(got, [*(W + 1), *W, *of(1, 1, 1, 1)])


def test_the_simulator_refuses_overlaps_when_binding():
    y = np.zeros(4, F32)
    with pytest.raises(BindingError, match="'s' is written into memory .* 'p' too"):
        simulate(both()).bind(outputs={"s": y, "p": y})
    total = np.zeros(4, F32)
    with pytest.raises(BindingError, match="'total' is written into .* 'x' too"):
        simulate(step()).bind({"total": total, "x": total})


@pytest.mark.parametrize("change", [("dtype", np.int32), ("shape", (2, 2))])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_target_that_has_changed_since_is_refused(change):
    y = np.zeros(4, F32)
    bound = simulate(both()).bind(outputs={"s": y})
    setattr(y, *change)
    with pytest.raises(BindingError, match="'s' takes a writable"):
        bound({"x": X, "w": W})
    assert not y.any()


# ------------------------------------------------------------------------------ layers


def test_no_tracer_is_imported():
    done = run_python(
        "-c",
        "import sys\n"
        "from nkipy.compiler import *\n"
        "from nkipy.execution import *\n"
        "assert LoadedProgram and simulate and Compiler\n"
        "ours = [m for m in sys.modules if m.startswith(('nkipy.', 'nkipy_'))]\n"
        "print(sorted({m.split('.')[1] for m in ours if '.' in m}))",
    )
    assert done.returncode == 0, done.stderr
    assert set(ast.literal_eval(done.stdout)) <= {
        "_release",
        "chips",
        "compiler",
        "execution",
        "hlo",
        "installed",
        "lazy",
        "private_files",
        "third_party",
    }


# -- what is compiled is what there is -------------------------------------------------
def less_than(direction="LT"):
    module = HLOModule("less_than")
    x, y = (module.add_parameter((4,), float32, n) for n in "xy")
    attributes = {"direction": direction}
    made = HLOInstruction("compare", (x, y), (4,), np.dtype(bool), attributes)
    module.set_results(module.add_operation(made), ["z"])
    return module


def adding(literal):
    module = HLOModule("adding")
    x = module.add_parameter((4,), float32, "x")
    attributes = {"literal": literal}
    constant = HLOInstruction("constant", (), (4,), float32, attributes)
    module.add_operation(constant)
    builder = HLOBuilder(module.entry)
    module.set_results([builder.add(x, constant)], ["y"])
    return module


def test_a_program_changed_in_place_has_its_own_key():
    module, x, y = less_than(), of(0, 1, 2, 3), of(2, 2, 2, 2)
    module.verify()
    module.content_hash()
    module.results[0].attributes = {"direction": "GE"}
    module.verify()
    for program, wanted in ((module, x >= y), (less_than(), x < y)):
        artifact = build(program)
        z = load(artifact).bind()({"x": x, "y": y})["z"]
        np.testing.assert_array_equal(z.numpy(), wanted)
        assert artifact.key == artifact_key(program, BuildOptions())
    assert build(module).key != build(less_than()).key


def test_a_program_whose_constant_is_written_into_has_its_own_key():
    literal = of(1, 1, 1, 1)
    module = adding(literal)
    module.verify()
    module.content_hash()
    module.serialize()
    literal[:] = 7
    for program, wanted in ((module, X + 7), (adding(of(1, 1, 1, 1)), X + 1)):
        y = load(build(program)).bind()({"x": X})["y"]
        np.testing.assert_array_equal(y.numpy(), wanted)


def test_a_program_that_changes_while_it_is_compiled_is_not_stored(
    monkeypatch, tmp_path
):
    literal, original = of(1, 2, 3, 4), Compiler.compile

    def compile_changed(compiler, *args, **options):
        literal[:] = 5
        return original(compiler, *args, **options)

    options = BuildOptions(directory=tmp_path)
    monkeypatch.setattr(Compiler, "compile", compile_changed)
    with pytest.raises(RuntimeError, match="'adding' has changed while"):
        build(adding(literal), options)
    assert not list(tmp_path.rglob("*.neff"))
    assert build(adding(literal), options).neff.is_file()


class Answers:
    """A device array that answers as it is told."""

    def __init__(self, answer):
        self.answer = answer

    def __spike_array__(self):
        return self.answer


@pytest.mark.parametrize(
    "answer",
    [
        lambda right: right._replace(offset=-4),
        lambda right: right._replace(offset="0"),
        lambda right: right._replace(strides=None),
        lambda right: right._replace(dtype="f4", strides=(8,)),
        lambda right: tuple(right),
        lambda right: 7,
    ],
)
def test_an_answer_that_is_none_of_the_protocols_is_refused(program, answer):
    x = on_device(*X)
    wrong = Answers(answer(x.__spike_array__()))
    bound = program.bind({"w": on_device(*W), "b": on_device(*B)})
    bound({"x": x})
    with pytest.raises(BindingError, match="'x'.*Answers"):
        bound({"x": wrong})
    changing = Answers(x.__spike_array__()._replace(token=1))
    bound({"x": changing})
    changing.answer = wrong.answer
    with pytest.raises(BindingError, match="'x'.*Answers"):
        bound({"x": changing})


def test_options_that_no_compiler_takes_are_refused_when_they_are_made():
    with pytest.raises(ValueError, match="^the target is one of trn1, .*'trn99'"):
        BuildOptions(target="trn99")
    with pytest.raises(ValueError, match='^additional_compiler_args is "\'a".*quot'):
        BuildOptions(additional_compiler_args="'a")


@pytest.mark.parametrize("rank", [(2, 1), (1, 1), (-1, 2), (0, 0)])
def test_a_rank_that_there_is_not_is_refused(rank):
    with pytest.raises(ValueError, match="'rank', but received .*tuple"):
        load(build(affine()), rank=rank)
