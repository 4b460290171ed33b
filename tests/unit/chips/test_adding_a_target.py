"""The developer guide adds a target; this does just that, and nothing else."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support import libnrt

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs/dev_guide/adding_targets.md"
#: What the table, and what is made of it, consists of.
PARTS = ("nkipy/src/nkipy", "emulator/src/libnrt", "spike/src/neff", "tools")
CHIPS = Path("nkipy/src/nkipy/chips")
#: Says what the emulated machine is.
MACHINE = """
#include <cstdio>

#include "topology.h"

int main() {
  const emulator::Topology topology(emulator::Environment::read());
  const emulator::InstanceType& type = topology.instance();
  std::printf("%u %u %s %s %u %zu\\n", type.family, type.size, type.architecture,
              type.target, topology.logical_core_count(),
              topology.hbm_bytes_per_logical_core() >> 20);
}
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(), re.DOTALL)


def apply(patch: str, file: Path) -> None:
    """Apply a patch whose hunks have no line numbers."""
    text = file.read_text()
    for hunk in patch.split("@@\n")[1:]:
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    file.write_text(text)


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(root)): p.read_bytes()
        for part in PARTS
        for p in (root / part).rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with the guide's target."""
    root = tmp_path_factory.mktemp("sources")
    for part in PARTS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, root / part, ignore=ignored)
    before = contents(root)
    (record,), (listing,) = blocks("python"), blocks("diff")
    (root / CHIPS / "trn9.py").write_text(record)
    apply(listing, root / CHIPS / "__init__.py")
    generate = [sys.executable, "-I", root / "tools/generate_chips.py"]
    subprocess.run(generate, check=True, capture_output=True)
    after = contents(root)
    touched = {name for name in after if after[name] != before.get(name)}
    assert before.keys() <= after.keys() and touched == {
        str(CHIPS / "trn9.py"),
        str(CHIPS / "__init__.py"),
        "emulator/src/libnrt/instances.h",
        "spike/src/neff/code_names.py",
    }
    return root


def run(root: Path, code: str, cwd: Path, **variables: str) -> str:
    """What a fresh process says that has this copy of nkipy."""
    own = {"PYTHONPATH": str(root / "nkipy/src"), **variables}
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)],
        env=libnrt.environment(**own),
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_compiled_for(root: Path, tmp_path: Path) -> None:
    code = """
        from pathlib import Path
        import numpy as np
        from nkipy.core.compile import CompilationTarget, compile_to_neff
        from nkipy.core.compile import get_platform_target, trace

        firmware = Path("product_name")
        firmware.write_text("trn9.48xlarge")
        print(CompilationTarget.TRN9, get_platform_target(firmware).value)
        kernel = trace(lambda x: x + 1)
        kernel.specialize(np.ones((4, 4), np.float32))
        neff = compile_to_neff(kernel, "build", "k.neff", CompilationTarget.TRN9)

        from neff import read_neff
        from nkipy_emulator.compiler.identity import usage_text

        print(read_neff(Path(neff).read_bytes()).target)
        print(",trn9}" in usage_text())
    """
    said = run(root, code, tmp_path, NKIPY_COMPILER="emulator")
    assert said.split() == ["CompilationTarget.TRN9", "trn9", "trn9", "True"]
    code = "from nkipy.core.compile import get_platform_target as get; print(get())"
    variable = {"NEURON_PLATFORM_TARGET_OVERRIDE": "trn9"}
    assert run(root, code, tmp_path, **variable) == "CompilationTarget.TRN9\n"


def test_the_cost_model_has_its_clocks(root: Path, tmp_path: Path) -> None:
    code = """
        from nkipy_emulator.cost_model import TARGETS
        from nkipy_emulator.compiler.targets import TARGETS as COMPILED

        core = TARGETS["trn9"]
        print(core.tensor_ghz, core.sbuf_bytes >> 20, core.hbm_gb_s, core.generation)
        print(COMPILED["trn9"].chip.hbm_bank_bytes >> 30)
    """
    said = run(root, code, tmp_path)
    assert said.split() == ["3.0", "48", str(4900 / 16), "9", "32"]


def test_genuine_neffs_and_the_page_name_it(root: Path, tmp_path: Path) -> None:
    names = runpy.run_path(str(root / "spike/src/neff/code_names.py"))["CODE_NAMES"]
    assert names["euphoria"] == "trn9"
    code = f"""
        import sys
        sys.path.insert(0, {str(root / "tools")!r})
        import generate_chips
        print(generate_chips.markdown())
    """
    page = run(root, code, tmp_path)
    assert "| `trn9.48xlarge` | 16 Trainium9 | 256 | 4096 GiB | 128 × 2 |" in page


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_it_can_be_emulated(root: Path, tmp_path: Path) -> None:
    """What libnrt knows of its machine, in a program of its own: it is built fast."""
    sources = root / "emulator/src/libnrt"
    (tmp_path / "main.cpp").write_text(MACHINE)
    names = ("topology.cpp", "env.cpp", "log.cpp", "status.cpp")
    subprocess.run(
        [
            *("c++", "-std=c++17", "-pthread", "-o", "machine"),
            *(f"-I{sources}", f"-I{sources / 'include'}", "main.cpp"),
            *(sources / name for name in names),
        ],
        cwd=tmp_path,
        check=True,
    )

    def machine(instance: str) -> str:
        variables = libnrt.environment(NKIPY_EMULATOR_INSTANCE=instance)
        command = [tmp_path / "machine"]
        return subprocess.run(
            command, env=variables, check=True, capture_output=True, text=True
        ).stdout

    assert machine("trn9") == "99 8 NCv9 trn9 16 16288\n"
    assert machine("trn9.48xlarge") == "99 7 NCv9 trn9 128 32576\n"
