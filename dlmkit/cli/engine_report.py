"""Which engines are usable here, and what to install for the rest.

The run-time packages are looked at only by name, so that none of them is needed.
"""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import Any

import attrs

__all__ = ["engine_reports"]


@attrs.frozen
class _Runtime:
    """What an engine runs on: the module, the packages that bring it, how to install it.

    Packages in `rivals` share one folder: with two of them, whichever came last is broken.
    """

    module: str
    packages: tuple[str, ...]
    install: str
    rivals: bool = False


_RUNTIMES = {
    "torch": _Runtime("torch", ("torch",), "pip install dlmkit"),
    "onnxruntime": _Runtime(
        "onnxruntime",
        ("onnxruntime", "onnxruntime-gpu"),
        "pip install dlmkit; for CUDA: pip uninstall onnxruntime, then pip install 'dlmkit[gpu]'",
        rivals=True,
    ),
    "tensorrt": _Runtime(
        "tensorrt",
        ("tensorrt",),
        "pip install 'dlmkit[tensorrt]' --extra-index-url https://pypi.nvidia.com",
    ),
    "tensorrt-rtx": _Runtime(
        "tensorrt_rtx", ("tensorrt-rtx",), "pip install 'dlmkit[tensorrt-rtx]'"
    ),
}


def engine_reports() -> list[dict[str, Any]]:
    """Return for each engine: name, usable, version, problem, install."""
    from dlmkit.plugins import get_plugins

    offered = get_plugins().registry.of_role("engine")
    names = [*_RUNTIMES, *sorted(set(offered) - set(_RUNTIMES))]
    return [_report(name, offered=name in offered) for name in names]


def _report(name: str, *, offered: bool) -> dict[str, Any]:
    runtime = _RUNTIMES.get(name)
    if runtime is None:
        return _line(name, None, None, None)
    versions = {each: _version(each) for each in runtime.packages}
    present = {each: version for each, version in versions.items() if version is not None}
    shown = ", ".join(f"{each} {version}" for each, version in present.items()) or None
    problem = _problem(runtime, present)
    if problem is not None:
        return _line(name, shown, problem, runtime.install)
    return _line(name, shown, None if offered else "no installed plugin offers this engine", None)


def _line(
    name: str, version: str | None, problem: str | None, install: str | None
) -> dict[str, Any]:
    return {
        "name": name,
        "usable": problem is None,
        "version": version,
        "problem": problem,
        "install": install,
    }


def _problem(runtime: _Runtime, present: dict[str, str]) -> str | None:
    """Say what keeps a run-time package from being used, or None."""
    if not present:
        return f"{' or '.join(runtime.packages)} is not installed"
    if runtime.rivals and len(present) > 1:
        both = " and ".join(present)
        return f"{both} are both installed and overwrite each other: uninstall both, install one"
    try:
        importlib.import_module(runtime.module)
    except Exception as error:  # a broken installation may raise anything
        return f"installed, but it cannot be imported: {type(error).__name__}: {error}"
    return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
