"""Settings for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Workers share the cores; this holds for child processes too, and must precede torch's import.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["pytester"]

FIXTURES = Path(__file__).parents[1].parent / "shared/fixtures"

# Examples are drawn the same way in every run, and no test depends on how fast a machine is.
settings.register_profile("dlmkit", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("dlmkit")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """No test reads or writes what was measured on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.mktemp("cache"))
        patch.setattr("platformdirs.user_cache_dir", lambda name: f"{folder}/{name}")
        yield


@pytest.fixture(scope="session")
def fixtures():
    """The folder of reference checkpoints; skips where it is not at hand."""
    if not FIXTURES.is_dir():
        pytest.skip(f"the reference checkpoints are not at {FIXTURES}")
    return FIXTURES
