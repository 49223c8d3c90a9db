"""Downloading checkpoints: data files only, never code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import errors, snapshot_download
from huggingface_hub.utils import tqdm  # type: ignore[attr-defined] # public by documentation

from dlmkit.errors import ModelError

__all__ = ["download_snapshot"]

_ALLOWED = ("*.json", "*.safetensors", "*.jinja", "merges.txt", "vocab.txt")
"""What a snapshot may contain; code files and pickles stay on the server."""

_LEFT_OUT = ("*/*", "consolidated*")
"""Subfolders and second copies of the weights in other layouts."""

_FAILURES: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    (
        (errors.GatedRepoError,),
        "{name} is gated: its owner asks you to accept terms first",
        "accept them at https://huggingface.co/{name}, then run `hf auth login`",
    ),
    (
        (errors.RevisionNotFoundError,),
        "{name} has no revision '{revision}'",
        "use a branch, tag or commit hash",
    ),
    (
        (errors.RepositoryNotFoundError,),
        "there is no folder and no public hub repository called '{name}'",
        "check the spelling; for a private repository run `hf auth login`",
    ),
    (
        (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled),
        "{name} is not in the local cache and cannot be downloaded now: the hub is out of "
        "reach, or offline mode is on",
        "connect once and run again, or copy the files and give their folder",
    ),
    (
        (errors.HfHubHTTPError, OSError),
        "downloading {name} failed: {error}",
        "run again to resume the download",
    ),
)
"""What the client library raises, most specific first; what happened; what to do."""


class _TerminalBar(tqdm):
    """A download bar that is silent where standard error is not a terminal."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options["disable"] = True if options.get("disable") else None
        super().__init__(*args, **options)  # type: ignore[no-untyped-call]


def download_snapshot(repository: str, *, revision: str | None, local_files_only: bool) -> Path:
    """Return the folder of a repository's snapshot, completing the local cache if allowed.

    Raises:
        ModelError: unknown repository or revision, gated, offline, or a failed download.
    """
    try:
        folder = snapshot_download(
            repository,
            revision=revision,
            local_files_only=local_files_only,
            allow_patterns=list(_ALLOWED),
            ignore_patterns=list(_LEFT_OUT),
            tqdm_class=_TerminalBar,
        )
    except (errors.HfHubHTTPError, OSError) as error:
        facts = {"name": repository, "revision": revision, "error": error}
        message, hint = next((m, h) for kinds, m, h in _FAILURES if isinstance(error, kinds))
        raise ModelError(message.format(**facts), hint=hint.format(**facts)) from error
    return Path(folder)
