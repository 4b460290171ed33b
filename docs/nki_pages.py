"""The pages on NKI that are made of records, docstrings and a run of a kernel.

``docs/conf.py`` writes them with each build, beside those that people write.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nkipy_nki import coverage, simulate
from nkipy_nki.findings import JSON_VERSION, REFUSED

ROOT = Path(__file__).resolve().parent.parent
#: Where sample kernels lie, which are files to read and to copy.
SAMPLES = ("reference", "tutorials")
_SOURCES = ROOT / "nki_simulator/src"
#: A tutorial's docstring begins with the title of its page, which lies there.
_TITLE = re.compile(r"\A.+\n=+\n+")
_PAGE = "../tutorials/nki/{}.rst"

COVERAGE = """# What there is

Made from the records of the instructions and from the language itself. What a function
takes and does is on its page of the [API](../api.md).

## Instructions: `nki.isa`, `nki.collectives`

*Engines* are those that can carry an instruction out, the one that does unless told
first. *Targets* are the chips that have it. An operand lies in one of the memories that
are named, and has one of the types; without types, any.

"""
FINDINGS = """# What is found

Each kind of finding is an error, which is raised at the line, a warning, which comes
once a line, or off. The switch is a variable, as in
`NKIPY_NKI_FINDINGS=capacity=warning,core-race=off`, or the argument `findings` of
`nki.simulate`. [Debugging kernels](debugging.md) shows both.

"""
DETAILS = """
## As data

A finding is `error.finding` of an error, one of a run's `findings`, or one of those
that `python -m nkipy_nki check --json` gives. As JSON (`finding.as_json()`) it has
these fields. `version` is {version}: it changes if a field gets another meaning, or
goes.

| field | type | what it is |
|---|---|---|
| `version` | number | of these fields |
| `kind` | string | the name of its switch; of an error that has none, see below |
| `level` | string | `error` or `warning` |
| `message` | string | what was found |
| `file`, `line`, `function` | string, number, string | where, in the kernel's source |
| `instruction` | string | the instruction's name, or empty |
| `details` | object | numbers and texts by kind |
| `calls` | list of objects | see below; empty if `function` is the kernel's own |

`calls` has `file`, `line` and `function` of each call that leads from the kernel to
`function`: the innermost is the first, and the last is in the kernel's own function.

An error that has no switch, as nothing can go on after it, is `{refused}`; or it is
called what the first generation's documentation calls it, `err_...`.

"""
SAMPLES_PAGE = """# Sample kernels

From published algorithms, in the folder `nki_simulator/src`, under the licence MIT-0:
to be read, and to be copied. The [tutorials](../tutorials/nki/index.rst) walk through
some of them. What they would take on a chip is estimated in
`nki_simulator/docs/benchmarks`.

"""


def write(folder: Path) -> None:
    """Write the pages and the picture into a folder."""
    pages = {
        "coverage.md": f"{COVERAGE}{coverage.instructions()}\n## Functions: "
        f"`nki.language`\n\n{coverage.functions()}\n## Element types\n\n"
        f"{coverage.types()}",
        "findings.md": FINDINGS
        + coverage.findings()
        + f"\n{coverage.groups()}\n"
        + DETAILS.format(version=JSON_VERSION, refused=REFUSED)
        + coverage.details(),
        "samples.md": SAMPLES_PAGE + "\n".join(_samples()),
        "timeline.svg": timeline(folder / "timing.md"),
    }
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)  # what is the same need not be read anew


# -- sample kernels --------------------------------------------------------------------
def _samples() -> Iterator[str]:
    """What the files of the samples say of themselves, and of their kernels."""
    for part in SAMPLES:
        for file in sorted((_SOURCES / part).rglob("*.py")):
            module = ast.parse(file.read_text())
            kernels = [node for node in module.body if _is_kernel(node)]
            if not kernels:
                continue
            title = file.relative_to(_SOURCES).as_posix()
            about = ast.get_docstring(module) or ""
            if part == "tutorials":
                about = (
                    _TITLE.sub("", about) + f"\n\n[Its page]({_PAGE.format(file.stem)})"
                )
            yield f"## `{title}`\n\n{about}\n"
            for kernel in kernels:
                yield _told(kernel)


def _is_kernel(node: ast.AST) -> bool:
    """Whether a statement is a function under ``nki.jit``."""
    return isinstance(node, ast.FunctionDef) and any(
        "nki.jit" in ast.unparse(decorator) for decorator in node.decorator_list
    )


def _told(kernel: Any) -> str:
    """A kernel's signature and docstring."""
    signature = f"{kernel.name}({ast.unparse(kernel.args)})"
    doc = ast.get_docstring(kernel) or ""
    return f"### `{kernel.name}`\n\n```text\n{signature}\n\n{doc}\n```\n"


# -- a timeline ------------------------------------------------------------------------
def timeline(page: Path) -> str:
    """The lanes of the kernel that a page shows, as its report draws them."""
    code = re.search(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    assert code is not None, page
    space: dict[str, Any] = {}
    exec(compile(code[1], page.name, "exec"), space)
    drawn = simulate(space["softmax"]).run(space["x"]).report().page()
    style = re.search(r"<style>(.*?)</style>", drawn, re.S)
    lanes = re.search(r'<svg viewBox="0 0 (\d+) (\d+)"(.*?)>(.*?)</svg>', drawn, re.S)
    assert style is not None and lanes is not None
    width, height, attributes, inner = lanes.groups()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 -10 {int(width) + 20} '
        f'{int(height) + 20}"{attributes}><style>{style[1]}</style><rect x="-10" '
        f'y="-10" width="{int(width) + 20}" height="{int(height) + 20}" rx="10" '
        f'fill="#ffffff"/>{inner}</svg>\n'
    )
