"""Generated pages say what the code says, and no page is out of reach."""

import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def _generator():
    spec = importlib.util.spec_from_file_location("reference", DOCS / "generate_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = _generator().pages()


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_generated_page_is_current(path):
    """Running the generator again would change nothing."""
    assert PAGES[path] == (DOCS / path).read_text("utf-8"), "run python docs/generate_reference.py"


def test_no_generated_page_is_left_over():
    """Every page of a role belongs to a role that exists."""
    kept = {path.relative_to(DOCS) for path in (DOCS / "reference/components").glob("*.md")}

    assert kept <= set(PAGES)


def test_every_page_is_in_the_navigation():
    """A reader can reach each page from the menu."""
    navigation = (DOCS.parent / "mkdocs.yml").read_text("utf-8")
    listed = set(re.findall(r"[\w/-]+\.md", navigation))
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}

    assert pages == listed
