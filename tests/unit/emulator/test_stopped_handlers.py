"""Handlers of a call that is over stop, whoever has ended it. In processes that get
signals.

They are called in loops that do not look for signals, and would go on for hours.
"""

from __future__ import annotations

import pytest

from tests.unit.emulator.test_interrupts import answers_of, run, run_on

#: What an iteration makes of an array of two dimensions.
STEPS = {
    "function": "lower(b, 'tan', x)",
    "sort": "sort_along(b, [x], [], 0)[0]",
    "order": "sort_along(b, [x], [x], 1)[1]",
    "running sum": "scan(b, x, 'add', 1)",
    "extremes": "b.broadcast_to(b.reduce(x, 'maximum', -np.inf, (0,)), x.shape)",
    "product": "b.dot(x, x, ((1,), (1,)))",
    "join": "b.concatenate([b.slice_dim(x, 0, 1, 256), b.slice_dim(x, 0, 0, 1)], 0)",
}
#: Iterations: hours of them.
FOREVER = 90_000_000

STEP = """
os.environ["NKIPY_EMULATOR_FAST_CALLS"] = "always"

from benchmarks.bench_fast_calls import lower
from nkipy.core.ops.reduce.scan import scan
from nkipy.core.ops.sorting.sorting import sort_along
from tests.support.engine import make_module
from tests.support.loops import repeated

def program(step, count):
    return lambda b, x: repeated(b, step, x, count)

def step(b, x):
    return STEP

x = np.random.default_rng(0).random((256, 256), np.float32)

def await_what_was_left():
    for thread in threads("nkipy-execute"):
        thread.join()

def engine_of(step, count):
    return XlaCpuEngine().compile(make_module(program(step, count), x))
"""

SIMULATED = f"""
out = np.full_like(x, -1)
long = engine_of(step, {FOREVER})
send_soon("nkipy-execute")
try:
    long.run([x], [out])
except KeyboardInterrupt:
    print("interrupted")
await_what_was_left()
print((out == -1).all())
engine_of(step, 2).run([x], [out])
expected = np.empty_like(x)
os.environ["NKIPY_EMULATOR_FAST_CALLS"] = "never"
engine_of(step, 2).run([x], [expected])
print(np.allclose(out, expected, 1e-5, equal_nan=True))
"""

ON_THE_DEVICE = f"""
from spike import SpikeModel, SpikeTensor
from tests.support.nrt_client import make_neff

def model_of(count):
    path = f"{{os.environ['NKIPY_CACHE_DIR']}}-{{count}}.neff"
    with open(path, "wb") as file:
        file.write(make_neff(program(step, count), x, names=["x"], results=["y"]))
    return SpikeModel.load_from_neff(path)

long, short = model_of({FOREVER}), model_of(1)
a, b = SpikeTensor.from_numpy(x), SpikeTensor.from_numpy(np.full_like(x, -1))
END
await_what_was_left()
print((b.numpy() == -1).all())
a.write_from_numpy(x[::-1].copy())
short({{"x": a}}, {{"y": b}})
print((b.numpy() == np.sort(x, axis=0)).all())
"""

ENDS = {
    "interrupted": """
threading.Timer(1, send).start()
try:
    long({"x": a}, {"y": b})
except KeyboardInterrupt:
    print("interrupted")
""",
    "too-late": """
try:
    long({"x": a}, {"y": b})
except Exception as error:
    print("interrupted" if "NEURON_RT_EXEC_TIMEOUT" in str(error) else error)
""",
}


@pytest.mark.parametrize(
    "name",
    [x if x == "sort" else pytest.param(x, marks=pytest.mark.slow) for x in STEPS],
)
def test_handlers_stop_when_a_signal_ends_the_call(name):
    program = STEP.replace("STEP", STEPS[name]) + SIMULATED
    assert answers_of(run(program)) == ["interrupted", "True", "True"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "end"),
    # A child that answers too late is ended, and the runtime is of no more use.
    [("inprocess", "interrupted"), ("inprocess", "too-late"), ("child", "interrupted")],
)
def test_handlers_stop_on_the_device(engine, end, tmp_path):
    program = STEP.replace("STEP", STEPS["sort"])
    program += ON_THE_DEVICE.replace("END", ENDS[end])
    limit = {"NEURON_RT_EXEC_TIMEOUT": "2"} if end == "too-late" else {}
    done = run_on(engine, program, tmp_path, **limit)
    assert answers_of(done) == ["interrupted", "True", "True"]
