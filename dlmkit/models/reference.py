"""Model references: a built-in checkpoint, a folder, or a repository on the hub."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from dlmkit.builtin import PREFIX, checkpoint_path
from dlmkit.errors import ModelError

__all__ = ["Located", "locate_model"]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@attrs.frozen
class Located:
    """A local checkpoint folder; `revision` is its commit where it came from the hub."""

    path: Path
    revision: str | None = None


def locate_model(
    reference: str, *, revision: str | None = None, local_files_only: bool = False
) -> Located:
    """Turn a model reference into a local folder, downloading it where necessary.

    Args:
        reference: `builtin/NAME`, a folder (used as it is), whatever a plugin resolves, or a
            hub id `owner/name`.
        revision: branch, tag or commit; hub references only.
        local_files_only: use the local hub cache and no network.

    Raises:
        ModelError: nothing by that name, or it cannot be downloaded.
    """
    if reference.startswith(PREFIX):
        return Located(checkpoint_path(reference.removeprefix(PREFIX)))
    folder = Path(reference).expanduser()
    if folder.is_dir() and reference:
        return Located(folder)
    if folder.is_file():
        raise ModelError(
            f"model {reference!r} is a file", hint=f"give the checkpoint folder {folder.parent}"
        )
    answered = _ask_plugins(reference, revision, local_files_only) if reference else None
    if answered is not None:
        return Located(answered)
    if _HUB_ID.fullmatch(reference):
        from dlmkit.models.hub import download_snapshot  # the client library is slow to import

        path = download_snapshot(reference, revision=revision, local_files_only=local_files_only)
        return Located(path, revision=path.name)
    raise ModelError(
        f"there is no model {reference!r}: not a folder, and not a hub id",
        hint="use builtin/verifier, a folder with config.json, or owner/name of a hub repository",
    )


def _ask_plugins(reference: str, revision: str | None, local_files_only: bool) -> Path | None:
    """Let plugins resolve what is not on this machine; the first answer wins."""
    from dlmkit.plugins import get_plugins  # plugins name families, which import this package
    from dlmkit.spec.documents import ModelRef

    asked = ModelRef(repo=reference, revision=revision, local_files_only=local_files_only)
    answer: Path | None = get_plugins().manager.hook.dlmkit_resolve_model(ref=asked)
    return answer
