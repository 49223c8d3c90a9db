"""`import dlmkit`: every public name, and no torch before one is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import dlmkit


def test_names_are_in_alphabetical_order():
    """Easy to find, easy to merge."""
    assert sorted(dlmkit.__all__) == dlmkit.__all__
    assert dlmkit.__all__ == dir(dlmkit)


@pytest.mark.parametrize("name", dlmkit.__all__)
def test_every_name_is_there(name):
    """None is promised in vain."""
    assert getattr(dlmkit, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    """As for any module."""
    with pytest.raises(AttributeError, match="no attribute 'generat'"):
        _ = dlmkit.generat


@pytest.mark.parametrize(
    "module", ["dlmkit", "dlmkit.component", "dlmkit.spec", "dlmkit.plugins", "dlmkit.cli.main"]
)
def test_importing_does_not_import_torch(module):
    """Help, completion and editors stay fast."""
    script = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", script], check=False).returncode
