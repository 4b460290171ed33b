"""Puts what Python reads at its start beside the package, where it looks for it."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SOURCES = Path("src")
#: Python 3.15 reads the second kind; those before it, the first one.
READ_AT_START = ("nkipy_nki_names.pth", "nkipy_nki_names.start")


class BuildWithStart(build_py):
    """Builds the modules, and copies the files to the top of what is installed."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for name in READ_AT_START:
                self.copy_file(str(SOURCES / name), str(Path(self.build_lib, name)))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """What has been built, with the files."""
        made = [] if self.editable_mode else READ_AT_START
        files = [str(Path(self.build_lib, name)) for name in made]
        return [*super().get_outputs(include_bytecode), *files]

    def get_source_files(self) -> list[str]:
        """What a source archive holds, with the files."""
        files = [str(SOURCES / name) for name in READ_AT_START]
        return [*super().get_source_files(), *files]


setup(cmdclass={"build_py": BuildWithStart})
