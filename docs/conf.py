"""Settings of the documentation: Markdown pages, API pages from the docstrings."""

from importlib import metadata

project = "nkipy"
author = "The nkipy authors"
project_copyright = author
release = metadata.version("nkipy")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "nkipy"

# Docstrings put code in single backquotes as well as double ones.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False

myst_enable_extensions = ["deflist", "fieldlist"]
myst_heading_anchors = 3
