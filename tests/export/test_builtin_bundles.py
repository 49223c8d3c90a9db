"""Bundles of built-in models that were changed: where they are kept."""

from __future__ import annotations

import shutil

import pytest

from dlmkit.engine import LoadOptions
from dlmkit_export.bundle.manifest import MANIFEST
from dlmkit_export.runtime import builtin_bundles
from dlmkit_export.runtime.builtin_bundles import builtin_bundle
from dlmkit_strategies.rope import NtkRope
from tests.export.changed import ROPE, derivation, prompts


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Where the bundle of a changed built-in model would be, without making one."""
    monkeypatch.setattr(builtin_bundles, "cache_folder", lambda: tmp_path)

    def make(_, folder, *__):
        folder.mkdir(parents=True)
        (folder / MANIFEST).write_text("{}")

    monkeypatch.setattr("dlmkit_export.bundle.make.make_bundle", make)
    return lambda rope=None, **changes: (
        builtin_bundle(
            "builtin/guide",
            LoadOptions(dtype="float32", rope=rope),
            derivation(**changes) if changes else None,
        ).name
    )


def test_each_change_has_a_bundle_of_its_own(folders):
    """By layers, by the content of prompt tokens, by the rope and its options."""
    found = [
        folders(),
        folders(skip_layers=(1,)),
        folders(skip_layers=(1, 2)),
        folders(prompt_tokens="builtin/guide"),
        folders(prompt_tokens=prompts()),
        folders(prompt_tokens=prompts(seed=1)),
        folders(skip_layers=(1,), prompt_tokens=prompts()),
        folders(NtkRope(context=1024)),
        folders(NtkRope(context=2048)),
        folders(NtkRope(context=2048), skip_layers=(1,)),
    ]
    assert len(found) == len(set(found))


def test_the_same_change_has_the_same_bundle(folders, tmp_path):
    """In any order of layers, under any name of the file, and if nothing is changed."""
    assert folders(skip_layers=(2, 1)) == folders(skip_layers=(1, 2))
    copy = str(shutil.copy(prompts(), tmp_path / "other-name"))
    assert folders(prompt_tokens=copy) == folders(prompt_tokens=prompts())
    assert folders(skip_layers=()) == folders()


def test_a_version_of_the_rope_has_a_bundle_of_its_own(folders, monkeypatch):
    """It is raised when the same options give other numbers."""
    before = folders(ROPE)
    monkeypatch.setattr(NtkRope, "version", 2)
    assert before != folders(ROPE)
