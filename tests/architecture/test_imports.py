"""Who may import whom, and what stays out of a first import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "dlmkit": ROOT / "dlmkit",
    "dlmkit_strategies": ROOT / "strategies/dlmkit_strategies",
    "dlmkit_export": ROOT / "export/dlmkit_export",
}
LIGHT = ["dlmkit", "dlmkit.component", "dlmkit.spec", "dlmkit.plugins", "dlmkit.testing.plugin"]
HEAVY = ["torch", "transformers", "onnx", "onnxruntime", "tensorrt"]


def imports_of(file):
    """Modules that a file imports, anywhere in it, with the names taken from each."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def files_of(package):
    return sorted(PACKAGES[package].rglob("*.py"))


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("dlmkit", ("dlmkit_strategies", "dlmkit_export")),
        ("dlmkit_strategies", ("dlmkit_export",)),
        ("dlmkit_export", ("dlmkit_strategies",)),
    ],
)
def test_packages_keep_their_direction(package, forbidden):
    """The core knows neither of the others; the others do not know each other."""
    found = [
        (str(file.relative_to(ROOT)), module)
        for file in files_of(package)
        for module, _ in imports_of(file)
        if module.split(".")[0] in forbidden
    ]
    assert not found


@pytest.mark.parametrize("package", ["dlmkit_strategies", "dlmkit_export"])
def test_the_outer_packages_use_public_names_only(package):
    """What third parties cannot rely on, the built-ins do not either."""
    found = [
        (str(file.relative_to(ROOT)), module, name)
        for file in files_of(package)
        for module, name in imports_of(file)
        if module.split(".")[0] == "dlmkit"
        and (name.startswith("_") or any(part.startswith("_") for part in module.split(".")))
    ]
    assert not found


def test_the_core_knows_no_compiled_engine():
    """ONNX and TensorRT are export's business."""
    found = [
        (str(file.relative_to(ROOT)), module)
        for file in files_of("dlmkit")
        for module, _ in imports_of(file)
        if module.split(".")[0] in ("onnx", "onnxruntime", "tensorrt", "tensorrt_rtx")
    ]
    assert not found


@pytest.mark.parametrize("module", LIGHT)
def test_a_first_import_is_light(module):
    """Help, completion and editors do not wait for torch."""
    code = f"import sys, {module}; print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "[]\n" == done.stdout
