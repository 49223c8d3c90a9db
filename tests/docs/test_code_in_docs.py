"""Code that the documentation shows is code that runs.

Python blocks are executed page by page, top to bottom.  Commands in `sh` blocks that start with
`dlmkit` are executed in an empty folder beside copies of the example files; other commands (pip,
mkdocs) are covered elsewhere.  YAML blocks that are whole specs are checked.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dlmkit.spec import SpecError, load_spec

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SNIPPET = re.compile(r'^--8<-- "(.+)"$', re.MULTILINE)


def _expand(text):
    """Include snippets the way the site does."""
    return SNIPPET.sub(lambda found: (DOCS / found[1]).read_text("utf-8"), text)


def _blocks(page, language):
    found = BLOCK.findall(page.read_text("utf-8"))
    return [_expand(body) for kind, body in found if kind == language]


def _with(language, keep=lambda body: True):
    return [page for page in PAGES if any(keep(body) for body in _blocks(page, language))]


def _name(page):
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", _with("python"), ids=_name)
def test_python_blocks_run(page, tmp_path, monkeypatch, capsys):
    """Every Python block of a page runs, in order, in one namespace."""
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "docs"}
    for body in _blocks(page, "python"):
        exec(compile(body, _name(page), "exec"), namespace)


def _commands(page):
    lines = [line for body in _blocks(page, "sh") for line in body.splitlines()]
    return [line for line in lines if line.startswith(("dlmkit ", "python -m dlmkit"))]


PROMPTLESS = re.compile(r"FIXTURES|GSAI-ML|bench|--device cuda")


@pytest.mark.parametrize("page", [page for page in PAGES if _commands(page)], ids=_name)
def test_commands_succeed(page, tmp_path):
    """Every dlmkit command of a page exits with 0."""
    for example in (DOCS / "examples").glob("*.yaml"):
        shutil.copy(example, tmp_path)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    for line in _commands(page):
        if PROMPTLESS.search(line):
            continue
        command = line.split("#")[0].replace("python -m", f"{shlex.quote(sys.executable)} -m")
        command = re.sub(r"^dlmkit ", f"{shlex.quote(sys.executable)} -m dlmkit ", command)
        done = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.parametrize("page", _with("yaml", lambda body: body.startswith("dlmkit:")), ids=_name)
def test_specs_are_valid_unless_shown_as_wrong(page):
    """Every whole spec of a page checks; one that is shown with its error gives that error."""
    text = page.read_text("utf-8")
    for body in _blocks(page, "yaml"):
        if not body.startswith("dlmkit:"):
            continue
        try:
            load_spec(body)
        except SpecError as error:
            first = error.problems[0]
            assert f":{first.mark.line}:{first.mark.column}: {first.message}" in text, str(error)
