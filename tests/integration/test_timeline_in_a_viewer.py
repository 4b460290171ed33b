"""A timeline is opened by a viewer that others made: speedscope, in a browser."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from nkipy.runtime import DeviceKernel, DeviceTensor

VIEWER = "speedscope@1.25.0"  # of npm


@pytest.fixture
def browser() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("there is no Chromium to open a viewer with")


@pytest.fixture
def viewer(tmp_path: Path) -> Path:
    """The folder of the viewer's page."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm to install a viewer with")
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", VIEWER]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=240)
    if done.returncode:
        pytest.skip(f"npm cannot install {VIEWER}: {done.stderr[-500:]!r}")
    return tmp_path / "node_modules/speedscope/dist/release"


def profile(directory: Path) -> Path:
    x = np.ones((256, 256), np.float32)
    kernel = DeviceKernel.compile_and_load(
        lambda a, b: np.tanh(a @ b), x, x, name="kernel"
    )
    inputs = {name: DeviceTensor.from_numpy(x) for name in "ab"}
    outputs = {"output0": DeviceTensor.from_numpy(x)}
    kernel(inputs, outputs, save_trace=True, ntff_name=str(directory / "k.ntff"))
    return directory / "k.ntff.json"


def page(browser: str, viewer: Path, file: Path) -> str:
    """The page when the viewer has opened the file, as speedscope's command does."""
    content = base64.b64encode(file.read_bytes()).decode()
    script = file.with_suffix(".js")
    script.write_text(f'speedscope.loadFileFromBase64("{file.name}", "{content}")')
    command = [browser, "--headless", "--no-sandbox", "--use-gl=swiftshader"]
    command += ["--enable-unsafe-swiftshader", "--allow-file-access-from-files"]
    command += [f"--user-data-dir={file.parent / 'profile'}"]
    command += ["--virtual-time-budget=8000", "--dump-dom"]
    command += [f"file://{viewer}/index.html#localProfilePath={script}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.device
def test_a_viewer_shows_the_lanes_in_order(
    browser: str, viewer: Path, tmp_path: Path
) -> None:
    text = page(browser, viewer, profile(tmp_path))
    assert "<title>k.ntff.json - speedscope</title>" in text
    lanes = ["executions on core 0", "execution (estimate)", "launch (estimate)"]
    lanes += ["DMA (estimate)", "TensorE (estimate)", "ScalarE (estimate)"]
    places = [text.rindex(f", {lane} (tid") for lane in lanes]
    assert places == sorted(places)
