"""The package of the first-strategy tutorial works as the page says."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "docs/examples/dlmkit-share"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables under which the package is as good as installed."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text("utf-8"))["project"]
    info = tmp_path / f"dlmkit_share-{project['version']}.dist-info"
    info.mkdir()
    header = f"Name: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(header, encoding="utf-8")
    points = project["entry-points"]["dlmkit"]
    lines = "\n".join(f"{name} = {module}" for name, module in points.items())
    (info / "entry_points.txt").write_text(f"[dlmkit]\n{lines}\n", encoding="utf-8")
    path = os.pathsep.join([str(PACKAGE), str(tmp_path)])
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module of Python in the package's folder."""
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(
        command, cwd=PACKAGE, env=environment, capture_output=True, text=True, check=False
    )


def test_the_spec_checks_once_the_package_is_installed(environment) -> None:
    """And only then; the message is the one on the page."""
    without = run(environment | {"DLMKIT_PLUGINS": ""}, "dlmkit", "check", "share.yaml")
    message = "share.yaml:8:19: no transfer strategy is called 'share'"
    page = (ROOT / "docs/tutorials/first-strategy.md").read_text("utf-8")
    assert (2, True, True) == (without.returncode, message in without.stderr, message in page)
    installed = run(environment, "dlmkit", "check", "share.yaml")
    assert 0 == installed.returncode, installed.stderr


def test_the_tests_of_the_package_pass(environment) -> None:
    """Conformance and the author's own."""
    done = run(environment, "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert 0 == done.returncode, done.stdout


def test_every_file_of_the_package_is_on_the_page() -> None:
    """The page includes the files that are tested here."""
    page = (ROOT / "docs/tutorials/first-strategy.md").read_text("utf-8")
    for file in PACKAGE.rglob("*.*"):
        if file.suffix in (".py", ".toml", ".yaml"):
            assert f'"examples/dlmkit-share/{file.relative_to(PACKAGE).as_posix()}"' in page
