"""`dlmkit doctor`: what is usable, why the rest is not, and how to get it."""

from __future__ import annotations

import json
from importlib import metadata

import pytest
from click.testing import CliRunner

from dlmkit.cli import engine_report
from dlmkit.cli.main import main


def doctor() -> dict:
    result = CliRunner().invoke(main, ["doctor", "--json"])
    assert 0 == result.exit_code, result.output
    return json.loads(result.stdout)


@pytest.fixture
def installed(monkeypatch):
    """Pretend that exactly these packages are installed; returns the report of an engine."""

    def report(name: str, **versions: str) -> dict:
        def version(package: str) -> str:
            if package.replace("-", "_") not in versions:
                raise metadata.PackageNotFoundError(package)
            return versions[package.replace("-", "_")]

        monkeypatch.setattr(metadata, "version", version)
        (found,) = [each for each in engine_report.engine_reports() if each["name"] == name]
        return found

    return report


def test_everything_is_reported():
    """The keys are stable."""
    expected = ["versions", "hardware", "engines", "models", "hub", "plugins"]
    assert expected == list(doctor())


def test_torch_is_usable():
    """Nothing works without it."""
    (torch_line,) = [each for each in doctor()["engines"] if each["name"] == "torch"]
    assert torch_line["usable"] is True
    assert torch_line["problem"] is None


def test_a_missing_engine_comes_with_the_command_that_installs_it(installed):
    """Each has its own extra."""
    found = installed("tensorrt-rtx")
    assert found["usable"] is False
    assert found["problem"] == "tensorrt-rtx is not installed"
    assert "dlmkit[tensorrt-rtx]" in found["install"]


def test_both_onnx_runtimes_at_once_are_an_error(installed):
    """They overwrite each other's files."""
    found = installed("onnxruntime", onnxruntime="1.30", onnxruntime_gpu="1.30")
    assert found["usable"] is False
    assert "uninstall both, install one" in found["problem"]


def test_a_package_that_cannot_be_imported_is_not_usable(installed, monkeypatch):
    """A missing library of the driver, say."""

    def broken(name: str):
        raise OSError("libnvinfer.so: no such file")

    monkeypatch.setattr(engine_report.importlib, "import_module", broken)
    found = installed("tensorrt", tensorrt="10.15")
    assert "libnvinfer.so" in found["problem"]


def test_settings_of_the_hub_are_shown(monkeypatch):
    """Offline mode is a usual reason for a missing model."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "1" == doctor()["hub"]["HF_HUB_OFFLINE"]


def test_the_report_for_people_names_every_section():
    """On standard output, exit code 0."""
    result = CliRunner().invoke(main, ["doctor"])
    assert 0 == result.exit_code
    for section in ("Machine", "Versions", "Engines", "Built-in models", "Model hub", "Plugins"):
        assert section in result.stdout
