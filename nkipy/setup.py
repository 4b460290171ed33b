"""Compiles the .proto files while the package is built; all else is declared.

The import paths inside the .proto files start at ``src``, so protoc writes Python
imports that are right as they are (``from nkipy.third_party.xla import ...``).
"""

from __future__ import annotations

from pathlib import Path

from setuptools import Command, setup
from setuptools.command.build import build

SOURCE = Path("src")
PROTOS = [
    "nkipy/third_party/xla/xla_data.proto",
    "nkipy/third_party/xla/service/metrics.proto",
    "nkipy/third_party/xla/service/hlo.proto",
]


def compile_protos(target: Path) -> None:
    """Writes ``*_pb2.py`` and ``*_pb2.pyi`` for every proto below ``target``."""
    # Imported late: asking for metadata must not need protoc.
    import grpc_tools
    from grpc_tools import protoc

    well_known = Path(grpc_tools.__file__).parent / "_proto"
    target.mkdir(parents=True, exist_ok=True)
    status = protoc.main(
        [
            "protoc",
            f"-I{SOURCE}",
            f"-I{well_known}",
            f"--python_out={target}",
            f"--pyi_out={target}",
            *PROTOS,
        ]
    )
    if status:
        raise RuntimeError(f"protoc failed with status {status} on {PROTOS}")


def generated_names() -> list[str]:
    """The generated files, relative to the directory they are written under."""
    stems = [name.removesuffix(".proto") for name in PROTOS]
    return [stem + suffix for stem in stems for suffix in ("_pb2.py", "_pb2.pyi")]


class BuildProtos(Command):
    """Generates into the build tree or, for an editable install, into ``src``.

    A sub-command of its own rather than an override of ``build_py``, whose failures
    setuptools turns into warnings in editable installs.
    """

    description = "compile the .proto files"
    user_options: list[tuple[str, str, str]] = []

    def initialize_options(self) -> None:
        self.build_lib: str | None = None
        self.editable_mode = False

    def finalize_options(self) -> None:
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def run(self) -> None:
        compile_protos(SOURCE if self.editable_mode else Path(str(self.build_lib)))

    def get_source_files(self) -> list[str]:
        return [str(SOURCE / name) for name in PROTOS]

    def get_outputs(self) -> list[str]:
        return [str(Path(str(self.build_lib), name)) for name in generated_names()]

    def get_output_mapping(self) -> dict[str, str]:
        sources = [str(SOURCE / name) for name in generated_names()]
        return dict(zip(self.get_outputs(), sources))


class Build(build):
    """The usual build, with the protos first."""

    sub_commands = [("build_protos", None), *build.sub_commands]


setup(cmdclass={"build": Build, "build_protos": BuildProtos})
