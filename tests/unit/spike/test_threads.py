"""Eight threads over four emulated cores: random loads, executions and frees."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support import libnrt
from tests.support.nrt_client import make_neff

CORES = 4
SECONDS = os.environ.get("NKIPY_TEST_SECONDS", "60")
# tools/sanitize.py chooses where XLA runs.
ENGINE = ("NKIPY_EMULATOR_ENGINE", "NKIPY_EMULATOR_PYTHON")

# In a process of its own: the runtime has other cores there than in this one.
SCRIPT = """
import random, sys, time
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import spike
from spike import SpikeModel, SpikeTensor

path = sys.argv[1]
threads, cores, seconds = map(int, sys.argv[2:])
end = time.monotonic() + seconds

def use(model, core, choose, last):
    value = np.full((4, 4), choose.randrange(1000), np.float32)
    x = SpikeTensor.from_numpy(value, core_id=core)
    out = SpikeTensor.empty((4, 4), np.float32, core_id=core)
    io = {"x0": x}, {"output0": out}
    if choose.random() < 0.5:
        model(*io)
        x.close()  # the other one goes when nobody refers to it
    else:
        running = model.execute_async(*io)
        ends = [x.close, running.wait, *([model.close] if last else [])]
        for act in choose.sample(ends, choose.randrange(len(ends) + 1)):
            act()
        running.wait()
    assert np.array_equal(out.numpy(), value + 1)
    if last:
        model.close()

def work(number):
    choose, models, count = random.Random(number), [], 0
    while time.monotonic() < end:
        if not models or choose.random() < 0.1 and len(models) < 4:
            core = choose.randrange(cores)
            models.append((SpikeModel.load_from_neff(path, core_id=core), core))
        at, last = choose.randrange(len(models)), choose.random() < 0.1
        use(*(models.pop(at) if last else models[at]), choose, last)
        count += 1
    return count

spike.configure(visible_cores=range(cores))
with ThreadPoolExecutor(threads) as pool:
    counts = list(pool.map(work, range(threads)))
print(*counts)
"""


@pytest.mark.slow
@pytest.mark.timeout(float(SECONDS) + 120)
def test_random_work_on_all_cores_for_a_minute(tmp_path: Path) -> None:
    neff = tmp_path / "add.neff"
    zeros = np.zeros((4, 4), np.float32)
    neff.write_bytes(make_neff(lambda b, x: b.add(x, b.full_like(x, 1)), zeros))
    arguments = [str(neff), "8", str(CORES), SECONDS]
    engine = {name: os.environ[name] for name in ENGINE if name in os.environ}
    env = libnrt.environment(NKIPY_EMULATOR_LOCK_DIR=str(tmp_path), **engine)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    counts = list(map(int, done.stdout.split()))
    assert len(counts) == 8 and min(counts) > float(SECONDS)
