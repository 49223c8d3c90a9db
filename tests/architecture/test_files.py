"""Files stay small, named after their subject, and documented."""

from __future__ import annotations

import ast
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("dlmkit", "strategies", "export")
FILES = sorted(
    file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py") if file.is_file()
)
IDS = [str(file.relative_to(ROOT)) for file in FILES]
EMPTY_NAMES = {"base", "common", "core", "helper", "helpers", "misc", "tools", "util", "utils"}


def tree_of(file):
    return ast.parse(file.read_text(encoding="utf-8"))


def lines_of(file):
    return len(file.read_text(encoding="utf-8").splitlines())


def test_files_are_short():
    """None above 500 lines, half of them at most 150."""
    sizes = {name: lines_of(file) for name, file in zip(IDS, FILES, strict=True)}
    assert not {name: size for name, size in sizes.items() if size > 500}
    assert statistics.median(sizes.values()) <= 150


def test_the_loop_is_short():
    """It can be read in one sitting, and so can the pipeline that it runs."""
    assert lines_of(ROOT / "dlmkit/loop/run.py") <= 150
    assert lines_of(ROOT / "dlmkit/denoise.py") <= 150


def test_the_top_of_the_core_is_seen_at_a_glance():
    """What has a room is in its room."""
    assert len(list((ROOT / "dlmkit").glob("*.py"))) <= 25


def test_no_file_is_named_after_nothing():
    """A file has one subject and is named after it."""
    assert not [name for name, file in zip(IDS, FILES, strict=True) if file.stem in EMPTY_NAMES]


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_everything_public_is_documented(file):
    """Modules, public classes, public functions and public methods say what they do."""
    missing = [] if ast.get_docstring(tree_of(file)) else ["the module"]
    for node in tree_of(file).body:
        missing += _undocumented(node, "")
    assert not missing


def _undocumented(node, owner):
    if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("_"):
        return []
    if any("overload" in ast.unparse(each) for each in node.decorator_list):
        return []
    missing = [] if ast.get_docstring(node) else [f"{owner}{node.name}"]
    for inner in node.body if isinstance(node, ast.ClassDef) else ():
        missing += _undocumented(inner, f"{node.name}.")
    return missing


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_public_names_are_listed_in_order(file):
    """`__all__` is sorted as ruff sorts it, without doubles, and names what exists."""
    listed = [
        ast.literal_eval(node.value)
        for node in tree_of(file).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        if isinstance(node.value, ast.List)
    ]
    for names in listed:
        assert len(names) == len(set(names))
        groups = [
            [name for name in names if name.isupper()],
            [name for name in names if name[:1].isupper() and not name.isupper()],
            [name for name in names if not name[:1].isupper()],
        ]
        assert names == [name for group in groups for name in sorted(group)]


def test_no_shape_letter_is_undeclared():
    """A module whose names end in shapes opens with the legend of their letters."""
    missing = []
    for name, file in zip(IDS, FILES, strict=True):
        text = file.read_text(encoding="utf-8")
        shaped = {
            node.arg
            for node in ast.walk(tree_of(file))
            if isinstance(node, ast.arg) and _is_shaped(node.arg)
        }
        if shaped and "Legend:" not in (ast.get_docstring(tree_of(file)) or text[:0]):
            missing.append((name, sorted(shaped)))
    assert not missing


def _is_shaped(name):
    head, _, shape = name.rpartition("_")
    return bool(head) and len(shape) >= 2 and shape.isupper() and shape.isalnum()
