"""Pages of the documentation, one for each example; Sphinx-Gallery runs them."""
