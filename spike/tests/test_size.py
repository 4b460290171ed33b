"""How large spike is: lines of C++ and Python without blanks, comments and docstrings.

What the specification names stays within its 1,500 lines. What goes beyond it has files
of its own. Not counted are another package, which reads NEFFs, and copies that a tool
makes: of libnrt's headers, and of how nkipy's commands end.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent.parent / "src"
SPECIFIED = """
    include/model.h include/nrt_wrapper.h include/spike.h include/tensor.h
    include/tensor_set.h model.cpp nrt_wrapper.cpp python_bindings.cpp spike.cpp
    tensor.cpp tensor_set.cpp spike/__init__.py spike/benchmark.py spike/spike_model.py
    spike/spike_singleton.py spike/spike_tensor.py
""".split()
# 3223 until a process could be run for each rank: `rank_processes`, `spike-run
# --processes` and `rank_bindings`, by which such processes meet, came then. 3416 until
# `switch_benchmark`, with percentiles and `spike-run --switch`. 3596 until timelines of
# ranks: `joined_timeline`, and where `spike-run` puts it; and its telling once what all
# ranks say, and that there are too few cores.
# 3905 until other extensions reached memory by its address: `memory_is_host`,
# `tensor_enter`, `tensor_leave`. 3921 until they could have programs use the host's own
# memory: `tensor_attach`.
TOTAL = 3942
_APART = ("spike/neff.py", "spike/command_line.py")
_LAYOUT = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
    *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
}
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_CPP_COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|/\*.*?\*/|//[^\n]*', re.DOTALL)


def lines_of_python(text: str) -> int:
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, _WITH_DOCSTRING) and ast.get_docstring(node) is not None:
            first = node.body[0]
            docstrings.update(range(first.lineno, (first.end_lineno or 0) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def lines_of_cpp(text: str) -> int:
    def kept(match: re.Match[str]) -> str:
        return match[0] if match[0].startswith('"') else "\n" * match[0].count("\n")

    return sum(1 for line in _CPP_COMMENT.sub(kept, text).split("\n") if line.strip())


def count() -> dict[str, int]:
    """Lines of each file of spike's own."""
    counted = {}
    for path in sorted(SOURCES.rglob("*")):
        name = path.relative_to(SOURCES).as_posix()
        if name.startswith("neff/") or name in _APART:
            continue
        if path.suffix in (".cpp", ".h"):
            counted[name] = lines_of_cpp(path.read_text())
        elif path.suffix == ".py":
            counted[name] = lines_of_python(path.read_text())
    return counted


@pytest.mark.parametrize(
    ("text", "python", "cpp"),
    [
        ("x = 1\n\n# no\ny = (\n    2)  # yes\n", 3, 5 - 1),
        ('"""No."""\ndef f():\n    """No,\n    no."""\n    return "yes"\n', 2, 5),
    ],
)
def test_counting_python(text: str, python: int, cpp: int) -> None:
    assert lines_of_python(text) == python
    assert lines_of_cpp(text) == cpp


def test_counting_cpp() -> None:
    text = '// no\n\nint x;  // yes\n/* no\n no */\nchar* s = "// yes";\n'
    assert lines_of_cpp(text) == 2


def test_what_the_specification_names_fits_in_its_1500_lines() -> None:
    counted = count()
    assert set(SPECIFIED) <= set(counted)
    assert sum(counted[name] for name in SPECIFIED) <= 1500


def test_the_total_does_not_grow() -> None:
    assert sum(count().values()) <= TOTAL
