"""Downloading checkpoints: data files only, never code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import tqdm  # type: ignore[attr-defined] # public by documentation

from dlmkit.errors import ModelError

__all__ = ["ALLOWED_FILES", "download_snapshot"]

ALLOWED_FILES = ("*.json", "*.safetensors", "*.jinja", "merges.txt", "vocab.txt")
"""What a snapshot may contain; code files and pickles stay on the server."""


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
            allow_patterns=list(ALLOWED_FILES),
            tqdm_class=_TerminalBar,
        )
    except GatedRepoError as error:
        raise ModelError(
            f"{repository} is gated: its owner asks you to accept terms first",
            hint=f"accept them at https://huggingface.co/{repository}, then run `hf auth login`",
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(
            f"{repository} has no revision {revision!r}", hint="use a branch, tag or commit hash"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"there is no folder and no public hub repository called {repository!r}",
            hint="check the spelling; for a private repository run `hf auth login`",
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise ModelError(
            f"{repository} is not in the local cache and cannot be downloaded now: the hub is "
            "out of reach, or offline mode is on",
            hint="connect once and run again, or copy the files and give their folder",
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"downloading {repository} failed: {error}", hint="run again to resume the download"
        ) from error
    return Path(folder)
