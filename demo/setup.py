"""Weights and pictures lie elsewhere in the repository: links, which git writes as text files where it may make none."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PACKAGE = "edgeconv_demo"
HERE = Path(__file__).resolve().parent / PACKAGE


class BuildPy(build_py):
    """Copies what a text file in place of a link points to, as on Windows without its developer mode."""

    def run(self) -> None:
        """Build, and fill the folders that are no folders here."""
        super().run()
        for pattern in self.distribution.package_data[PACKAGE]:
            name, inner = pattern.split("/", 1)
            if (HERE / name).is_dir():
                continue
            source = folder_of(HERE / name)
            for found in source.glob(inner):
                made = Path(self.build_lib, PACKAGE, name, found.relative_to(source))
                made.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(found, made)


def folder_of(link: Path) -> Path:
    """Return the folder that a link's text names."""
    source = link.parent / link.read_text(encoding="utf-8").strip() if link.is_file() else link
    if not source.is_dir():
        raise SystemExit(
            f"{link} leads to no folder: build from the whole repository, or say `git config "
            "core.symlinks true` and check it out again"
        )
    return source


setup(cmdclass={"build_py": BuildPy})
