"""A model reference is a built-in name, a folder, something a plugin knows, or a hub id."""

from __future__ import annotations

from pathlib import Path

import httpx2 as http_client
import pytest
from huggingface_hub import errors

import dlmkit.plugins
from dlmkit.errors import DlmkitError, ModelError
from dlmkit.models import hub
from dlmkit.models.reference import locate_model
from dlmkit.plugins import hookimpl, load_plugins


@pytest.fixture(autouse=True)
def plugins(monkeypatch):
    found = load_plugins([])
    monkeypatch.setattr(dlmkit.plugins, "get_plugins", lambda: found)
    return found


@pytest.fixture
def snapshots(monkeypatch):
    """Record the calls to the hub, answering with a folder or raising an error."""
    calls = []

    def answer(repository, **options):
        calls.append((repository, options))
        if isinstance(calls_result[0], Exception):
            raise calls_result[0]
        return calls_result[0]

    calls_result = ["/cache/snapshots/abc123"]
    monkeypatch.setattr(hub, "snapshot_download", answer)
    return calls, calls_result


def test_a_folder_is_used_as_it_is(tmp_path, snapshots):
    """Nothing is downloaded, whatever the folder is called."""
    assert tmp_path == locate_model(str(tmp_path)).path
    assert [] == snapshots[0]


def test_builtin_names_lead_into_the_package():
    """The three checkpoints that come with dlmkit."""
    assert "verifier" == locate_model("builtin/verifier").path.name


def test_unknown_builtin_names_are_errors():
    """The known ones are listed."""
    with pytest.raises(DlmkitError, match="verifier, drafter, guide"):
        locate_model("builtin/nothing")


def test_a_hub_id_is_downloaded_without_code(snapshots):
    """Only data files are asked for, and the commit is kept."""
    located = locate_model("owner/name", revision="v1", local_files_only=True)
    assert (Path("/cache/snapshots/abc123"), "abc123") == (located.path, located.revision)
    ((repository, options),) = snapshots[0]
    assert ("owner/name", "v1", True) == (
        repository,
        options["revision"],
        options["local_files_only"],
    )
    assert "consolidated*" in options["ignore_patterns"]
    assert not any(".py" in pattern or ".bin" in pattern for pattern in options["allow_patterns"])


def test_a_plugin_may_resolve_a_reference(tmp_path, plugins, snapshots):
    """The hook's answer comes before the hub, with the revision that was asked for."""

    class Store:
        @staticmethod
        @hookimpl
        def dlmkit_resolve_model(ref):
            return tmp_path / ref.repo / ref.revision

    plugins.manager.register(Store)
    assert tmp_path / "team/model/v2" == locate_model("team/model", revision="v2").path
    assert [] == snapshots[0]


@pytest.mark.parametrize("reference", ["nothing-here", "./nowhere", "/no/such/folder", "a b/c", ""])
def test_what_cannot_be_a_hub_id_is_not_looked_up(reference, snapshots):
    """A misspelt path gives an error, not a download."""
    with pytest.raises(ModelError, match="there is no model"):
        locate_model(reference)
    assert [] == snapshots[0]


def test_a_file_is_not_a_checkpoint(tmp_path):
    """The hint gives the folder."""
    file = tmp_path / "model.safetensors"
    file.touch()
    with pytest.raises(ModelError, match="is a file") as caught:
        locate_model(str(file))
    assert str(tmp_path) in str(caught.value.hint)


def _response(status):
    return http_client.Response(status, request=http_client.Request("GET", "https://hub"))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.RepositoryNotFoundError("no", response=_response(404)), "no public hub repository"),
        (errors.GatedRepoError("gated", response=_response(403)), "is gated"),
        (errors.RevisionNotFoundError("no", response=_response(404)), "has no revision 'v9'"),
        (errors.LocalEntryNotFoundError("no"), "is not in the local cache"),
        (errors.OfflineModeIsEnabled("offline"), "is not in the local cache"),
        (errors.HfHubHTTPError("500", response=_response(500)), "downloading owner/name failed"),
        (OSError("disk full"), "failed: disk full"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_failure_of_the_hub_says_what_to_do(error, message, snapshots):
    """No stack trace of the client library reaches the user."""
    snapshots[1][0] = error
    with pytest.raises(ModelError, match=message) as caught:
        locate_model("owner/name", revision="v9")
    assert caught.value.hint


def test_without_network_and_cache_the_error_is_clear(monkeypatch, tmp_path):
    """The real client, offline, with an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="is not in the local cache"):
        locate_model("owner/name", local_files_only=True)
