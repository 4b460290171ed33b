"""The notebooks that the docs offer beside each example run as they are."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "gallery").glob("[!_]*.py"))
NEEDED = ("ipykernel", "nbclient", "sphinx_gallery")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
if missing := [name for name in NEEDED if find_spec(name) is None]:
    which = f"{', '.join(missing)}, of the groups 'notebooks' and 'docs'"
    pytestmark.append(pytest.mark.skip(f"NO NOTEBOOK WAS RUN: there is no {which}"))


def exported(example: Path) -> str:
    """The notebook that sphinx-gallery writes for an example, as JSON."""
    from sphinx_gallery.gen_gallery import DEFAULT_GALLERY_CONF
    from sphinx_gallery.notebook import jupyter_notebook
    from sphinx_gallery.py_source_parser import split_code_and_text_blocks

    _, blocks = split_code_and_text_blocks(str(example))
    return json.dumps(jupyter_notebook(blocks, DEFAULT_GALLERY_CONF, str(ROOT)))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_exported_notebook_runs(example, tmp_path, monkeypatch):
    if "import torch\n" in example.read_text():
        pytest.importorskip("spike_torch")
    import nbformat
    from nbclient import NotebookClient

    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("TQDM_DISABLE", "1")
    notebook = nbformat.reads(exported(example), as_version=4)
    # In the clone, whose package `examples` they import.
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(ROOT)}},
    )
    # One that takes a core takes it of a machine of its own: a worker has this one's.
    locks = str(tmp_path / "locks")
    own = {"PYTHONPATH": str(ROOT), "NKIPY_EMULATOR_LOCK_DIR": locks}
    client.execute(env={**os.environ, **own})
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    assert outputs
    assert not [o for o in outputs if o.get("name") == "stderr"]
    assert any("image/png" in o.get("data", {}) for o in outputs)
