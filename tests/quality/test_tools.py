"""The project's own tools find nothing: style, types, import direction, documentation."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _run(*command: str) -> None:
    environment = os.environ | {"NO_COLOR": "1", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"


def test_ruff_finds_no_fault():
    """The linter accepts every file."""
    _run("ruff", "check", ".")


def test_files_are_formatted():
    """The formatter would change nothing."""
    _run("ruff", "format", "--check", ".")


@pytest.mark.slow
def test_types_hold_under_strict_mypy():
    """The three packages pass mypy in strict mode."""
    _run("mypy")


def test_imports_go_one_way():
    """Every import contract is kept."""
    _run("importlinter.cli", "lint")


@pytest.mark.slow
def test_documentation_builds_strictly(tmp_path):
    """No broken link, reference or snippet in the documentation."""
    _run("mkdocs", "build", "--strict", "--site-dir", str(tmp_path))
