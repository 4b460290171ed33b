"""Settings of the documentation: Markdown pages, API pages from the docstrings."""

import os
import sys
from importlib import metadata
from pathlib import Path

from nkipy.core import ops  # noqa: F401  (fills the op tables)
from nkipy.core.ops._coverage import markdown

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT)]  # the latter for ``examples``
import generate_chips  # noqa: E402

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
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
# "Attributes:" of a docstring describe what autodoc lists as members anyway.
napoleon_use_ivar = True

myst_enable_extensions = ["deflist", "fieldlist"]
myst_heading_anchors = 3

# A page for each file of examples/gallery, with what it prints and draws.
os.environ["TQDM_DISABLE"] = "1"
sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
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
# Both are made anew with each build.
(HERE / "coverage.md").write_text(
    "# Coverage\n\nOne row for each op record.\n\n" + markdown()
)
(HERE / "chips.md").write_text(generate_chips.markdown())
