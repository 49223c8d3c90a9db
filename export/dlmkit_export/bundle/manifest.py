"""The manifest of a bundle: what the network is, how it was made, and a digest of every file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import torch

from dlmkit.errors import ModelError
from dlmkit.models.arch import AttentionPattern
from dlmkit.models.derivation import Derivation
from dlmkit.models.special_ids import SpecialIds
from dlmkit.network import NetworkInfo
from dlmkit_export.bundle.buckets import Buckets
from dlmkit_export.contract import CONTRACT_VERSION

__all__ = [
    "FORMAT",
    "MANIFEST",
    "PROMPTS",
    "FileRecord",
    "Graphs",
    "Manifest",
    "Source",
    "read_manifest",
]

FORMAT = 3
"""Version of the bundle format that this release writes, and the newest that it reads.

2 knows caches that are written in place, 3 changed networks and graphs with abilities.
"""

MANIFEST = "manifest.json"

PROMPTS = "prompt_tokens.safetensors"
"""The prompt tokens that were added to the network, if any were."""


@attrs.frozen
class FileRecord:
    """Size and SHA-256 of one file of a bundle."""

    bytes: int
    sha256: str


def _names(given: Iterable[str]) -> tuple[str, ...]:
    return tuple(given)


@attrs.frozen(kw_only=True)
class Graphs:
    """File names of the graphs, and what they offer.

    `score_pack` returns statistics with `candidates` tokens; `logits` (None: not included)
    returns logits.  Both call the same network and share its weights.  With `cache_slots` they
    write into a cache of that many slots (None: they read one of any size).  For each of the
    `abilities` there is one more of both, for passes that need it.
    """

    score_pack: str
    logits: str | None
    candidates: int
    opset: int
    cache_slots: int | None = None
    abilities: tuple[str, ...] = attrs.field(default=(), converter=_names)

    def file(self, ability: str | None, *, packed: bool) -> str | None:
        """The graph that has an ability (None: needs none), with the score pack or with logits."""
        plain = self.score_pack if packed else self.logits
        return plain if plain is None or ability is None else f"{ability}-{plain}"

    def files(self) -> Iterator[str]:
        """All graphs."""
        for ability in (None, *self.abilities):
            for packed in (True, False):
                name = self.file(ability, packed=packed)
                if name is not None:
                    yield name


@attrs.frozen(kw_only=True)
class Source:
    """The checkpoint that a bundle was made from, and how it was changed before it was compiled.

    Prompt tokens of the `derivation` are in the bundle (`PROMPTS`); `rope` is as in a spec.
    """

    reference: str
    revision: str | None
    family: str
    architecture: str
    special_ids: SpecialIds
    derivation: Derivation | None = None
    rope: Any = None


@attrs.frozen(kw_only=True)
class Manifest:
    """Everything about a bundle except its weights.

    `network` has the facts of `NetworkInfo` that do not depend on where it runs; `versions` says
    what made the bundle.
    """

    graphs: Graphs
    buckets: Buckets
    network: Mapping[str, Any]
    source: Source
    versions: Mapping[str, str]
    files: Mapping[str, FileRecord]

    @property
    def dtype(self) -> torch.dtype:
        """Number format of weights, keys and values."""
        dtype: torch.dtype = getattr(torch, str(self.network["dtype"]))
        return dtype

    def info(self, engine: str, device: torch.device, mask_id: int | None) -> NetworkInfo:
        """Facts about the network as an engine runs it; `mask_id` overrules the manifest's."""
        ids = self.source.special_ids
        facts = {**self.network, "dtype": self.dtype}
        facts["attention"] = AttentionPattern(**self.network["attention"])
        facts["prompt_ids"] = tuple(self.network.get("prompt_ids", ()))
        return NetworkInfo(
            **facts,
            mask_id=ids.mask_id if mask_id is None else mask_id,
            eos_ids=ids.eos_ids,
            eot_ids=ids.eot_ids,
            device=device,
            engine=engine,
            cache_slots=self.graphs.cache_slots,
            capabilities=frozenset(
                {*self.graphs.abilities, *(["logits"] * bool(self.graphs.logits))}
            ),
        )

    def as_json(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "format": FORMAT,
            "contract": CONTRACT_VERSION,
            "graphs": attrs.asdict(self.graphs),
            "buckets": self.buckets.as_json(),
            "network": dict(self.network),
            "source": attrs.asdict(self.source),
            "versions": dict(self.versions),
            "files": {name: attrs.asdict(record) for name, record in sorted(self.files.items())},
        }

    def write(self, folder: Path) -> None:
        """Write the manifest into the bundle."""
        text = json.dumps(self.as_json(), indent=2, ensure_ascii=False, sort_keys=True)
        (folder / MANIFEST).write_text(text + "\n", "utf-8")


def network_facts(info: NetworkInfo) -> dict[str, Any]:
    """The facts of a network that hold on every engine."""
    return {
        "vocab_size": info.vocab_size,
        "max_positions": info.max_positions,
        "attention": attrs.asdict(info.attention),
        "layers": info.layers,
        "kv_heads": info.kv_heads,
        "head_dim": info.head_dim,
        "dtype": str(info.dtype).removeprefix("torch."),
        "logit_shift": info.logit_shift,
        "parameters": info.parameters,
        "prompt_ids": list(info.prompt_ids),
    }


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a bundle; nothing else is looked at.

    Raises:
        ModelError: it is missing or damaged, or of a version that this release does not read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ModelError(
            f"{folder} is not a bundle: it has no {MANIFEST}",
            hint="make one with `dlmkit export --model MODEL -o FOLDER`",
        )
    try:
        fields = json.loads(path.read_text("utf-8"))
        _check_versions(path, fields)
        return _manifest(fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path} is damaged: {type(error).__name__}: {error}",
            hint="copy the bundle again, or make it again with `dlmkit export`",
        ) from error


def _check_versions(path: Path, fields: Mapping[str, Any]) -> None:
    readable = {"format": FORMAT, "contract": CONTRACT_VERSION}
    for name, newest in readable.items():
        if int(fields[name]) > newest:
            raise ModelError(
                f"{path} has {name} version {fields[name]}, but this release reads up to {newest}",
                hint="update dlmkit, or make the bundle again with this release",
            )


def _manifest(fields: Mapping[str, Any]) -> Manifest:
    source = fields["source"]
    ids = source["special_ids"]
    special_ids = SpecialIds(
        **{**ids, "eos_ids": tuple(ids["eos_ids"]), "eot_ids": tuple(ids["eot_ids"])}
    )
    return Manifest(
        graphs=Graphs(**fields["graphs"]),
        buckets=Buckets.from_json(fields["buckets"]),
        network=fields["network"],
        source=Source(
            **{**source, "special_ids": special_ids, "derivation": _derivation(source)},
        ),
        versions=fields["versions"],
        files={name: FileRecord(**record) for name, record in fields["files"].items()},
    )


def _derivation(source: Mapping[str, Any]) -> Derivation | None:
    """How the network was derived; bundles of an earlier format never were."""
    stated = source.get("derivation")
    if stated is None:
        return None
    return Derivation(**{**stated, "skip_layers": tuple(stated["skip_layers"])})
