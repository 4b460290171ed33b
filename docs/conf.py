"""Settings of the documentation: Markdown pages, API pages from the docstrings."""

import atexit
import os
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from nkipy.core import ops  # noqa: F401  (enters ops into the tables)
from nkipy.core.ops._coverage import markdown

HERE = Path(__file__).parent
ROOT = HERE.parent
# The last one is for ``examples``.
sys.path[:0] = [str(HERE), str(ROOT / "tools"), str(ROOT)]
import api_pages  # noqa: E402
import docstrings  # noqa: E402
import generate_chips  # noqa: E402
import nki_pages  # noqa: E402
import torch_pages  # noqa: E402

project = "nkipy"
author = "The nkipy authors"
project_copyright = author
release = metadata.version("nkipy")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "nkipy"
html_favicon = "_static/icon.svg"
html_static_path = ["_static"]
html_css_files = ["narrow.css"]

# Docstrings put code in single backquotes as well as double ones.
default_role = "code"
autodoc_member_order = "bysource"
# Overloads have types of their own: a description could only tell those of the function
# that stands behind them, which are all Any.
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_type_aliases = {
    f"{module}{name}": name
    for module in ("", "npt.")
    for name in ("ArrayLike", "DTypeLike")
}
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
# "Attributes:" are a list: as objects of their own, autodoc has them among the members,
# and links to a `name` or a `shape` could go anywhere.
napoleon_custom_sections = [
    ("Attributes", "params_style"),
    ("Raises on a call", "params_style"),
]

myst_enable_extensions = ["deflist", "fieldlist"]
myst_heading_anchors = 3

# A page for each file of examples/gallery, and for each tutorial on kernels of NKI,
# with what it prints and draws.
os.environ["TQDM_DISABLE"] = "1"
# Pages on the torch device take a core: of an emulated machine that is theirs alone,
# whoever else is at work. Without torch, they show their code, and nothing is run.
_locks = tempfile.mkdtemp(prefix="nkipy-docs-")
atexit.register(shutil.rmtree, _locks, ignore_errors=True)
os.environ["NKIPY_EMULATOR_LOCK_DIR"] = _locks
_RUN = r"\.py$" if torch_pages.HAS_TORCH else r"/(?!torch_)[^/]*\.py$"
sphinx_gallery_conf = {
    "examples_dirs": ["../examples/gallery", "../nki_simulator/src/tutorials"],
    "gallery_dirs": ["gallery", "tutorials/nki"],
    "filename_pattern": _RUN,
    "first_notebook_cell": (
        "# To be run in a clone of the repository, of which it imports `examples`:\n"
        "# see Notebooks in docs/install.md.\n"
        "%matplotlib inline"
    ),
    "ignore_pattern": r"__init__\.py$",
    "abort_on_example_error": True,
    "capture_repr": (),
    "download_all_examples": False,
    "min_reported_time": 1e9,
    "run_stale_examples": True,  # what they show depends on all sources
    "show_memory": False,
    "write_computation_times": False,
}

# The coverage table is that of the registry, and the one of chips that of nkipy.chips.
# They are made anew with each build, as the API's pages are.
COVERAGE = """# Coverage

The functions of NumPy's reference, by its chapters, and the ops that answer them.
Where there is none, the function works on arrays that are known while tracing, as
NumPy's own; what cannot take a traced array says so.

"""
(HERE / "coverage.md").write_text(COVERAGE + markdown())
(HERE / "chips.md").write_text(generate_chips.markdown())
(HERE / "api.md").write_text("# API\n\n" + api_pages.index())
api_pages.write(HERE / "api")
nki_pages.write(HERE / "nki")
torch_pages.write(HERE / "torch")

setup = docstrings.setup
