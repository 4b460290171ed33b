"""Compiles the .proto files while the package is built; all else is declared.

The import paths inside the .proto files start at ``src``, so protoc writes Python
imports that are right as they are (``from nkipy.third_party.xla import ...``).

Besides what protoc writes, the fields of all messages become a plain Python table, for
who writes or reads messages without protobuf.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from setuptools import Command, setup
from setuptools.command.build import build

SOURCE = Path("src")
PROTOS = [
    "nkipy/third_party/xla/xla_data.proto",
    "nkipy/third_party/xla/service/metrics.proto",
    "nkipy/third_party/xla/service/hlo.proto",
]
FIELDS = "nkipy/third_party/xla/wire_fields.py"


def compile_protos(target: Path) -> None:
    """Writes `generated_names()` below ``target``."""
    # Imported late: asking for metadata must not need protoc.
    import grpc_tools
    from grpc_tools import protoc

    well_known = Path(grpc_tools.__file__).parent / "_proto"
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        descriptors = Path(scratch, "descriptors.pb")
        status = protoc.main(
            [
                "protoc",
                f"-I{SOURCE}",
                f"-I{well_known}",
                f"--python_out={target}",
                f"--pyi_out={target}",
                f"--descriptor_set_out={descriptors}",
                *PROTOS,
            ]
        )
        if status:
            raise RuntimeError(f"protoc failed with status {status} on {PROTOS}")
        Path(target, FIELDS).write_text(fields_module(descriptors.read_bytes()))


def fields_module(descriptors: bytes) -> str:
    """The source of a module with the fields and enumerations of a descriptor set."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    files = FileDescriptorSet.FromString(descriptors).file
    messages: list[str] = []
    enums: list[str] = []
    for file in files:
        for message in file.message_type:
            messages += _messages(message, file.package, "")
        for enum in file.enum_type:
            values = {value.name: value.number for value in enum.value}
            enums.append(f"    {enum.name!r}: {values},")
    return "\n".join(
        [
            '"""Fields of the messages in the .proto files; setup.py writes this."""',
            "",
            "#: Name, number, type, whether repeated, message of fields, by message.",
            "MESSAGES: dict[str, tuple[tuple[str, int, str, bool, str], ...]] = {",
            *messages,
            "}",
            "#: Numbers of the enumerations outside of messages, by name.",
            "ENUMS: dict[str, dict[str, int]] = {",
            *enums,
            "}",
            "",
        ]
    )


def _messages(message: Any, package: str, outer: str) -> list[str]:
    """The lines of a message and of those inside it, by names without the package."""
    name = outer + message.name
    prefix = f".{package}."
    rows = [
        (
            field.name,
            field.number,
            field.Type.Name(field.type).removeprefix("TYPE_").lower(),
            field.label == field.LABEL_REPEATED,
            field.type_name.removeprefix(prefix) if _is_message(field) else "",
        )
        for field in message.field
    ]
    lines = [f"    {name!r}: (", *(f"        {row!r}," for row in rows), "    ),"]
    for inner in message.nested_type:
        lines += _messages(inner, package, f"{name}.")
    return lines


def _is_message(field: Any) -> bool:
    return field.type == field.TYPE_MESSAGE


def generated_names() -> list[str]:
    """The generated files, relative to the directory they are written under."""
    stems = [name.removesuffix(".proto") for name in PROTOS]
    names = [stem + suffix for stem in stems for suffix in ("_pb2.py", "_pb2.pyi")]
    return [*names, FIELDS]


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
