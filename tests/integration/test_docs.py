"""The Python in README and user guide runs as it stands there."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs/user_guide").glob("*.md"))]
#: A block that shows an error is followed by its text.
BLOCK = re.compile(r"^```python\n(.*?)^```\n+(?:^```text\n(.*?)^```)?", re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_on_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page", "np": np}
    for i, (code, shown) in enumerate(BLOCK.findall(page.read_text())):
        file = tmp_path / f"block_{i}.py"
        file.write_text(code)
        compiled = compile(code, str(file), "exec")
        if not shown:
            exec(compiled, namespace)
            continue
        with pytest.raises(Exception) as caught:
            exec(compiled, namespace)
        assert str(caught.value).replace(str(file), "kernel.py") == shown.strip()
    logging.getLogger("nkipy.simulate").setLevel(logging.NOTSET)


def test_the_readme_has_a_tour():
    assert len(BLOCK.findall(PAGES[0].read_text())) >= 5
