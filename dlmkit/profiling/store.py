"""Where measured costs are kept: one small file for each network on each engine and machine."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from dlmkit.errors import RequestError
from dlmkit.host.hardware import describe_hardware, describe_versions
from dlmkit.profiling.costs import CostTable

if TYPE_CHECKING:
    import torch

    from dlmkit.engine import LoadedModel

__all__ = ["find_costs", "identity", "keep_costs", "recorded_costs"]

FORMAT = "costs/1"

_NO_MATTER = ("dlmkit", "python", "transformers")
"""What a forward pass does not run on."""


def identity(model: LoadedModel) -> dict[str, Any]:
    """What the time of a pass depends on: sizes, number format, engine, device, releases.

    Values of weights are not part of it, and neither is the folder that they came from.
    """
    info, origin = model.network.info, model.provenance
    config = origin.path / "config.json"
    return {
        "config": hashlib.sha256(config.read_bytes()).hexdigest() if config.is_file() else None,
        "derivation": origin.derivation,
        "layers": info.layers,
        "parameters": info.parameters,
        "dtype": str(info.dtype)[6:],
        "engine": info.engine,
        **_machine(info.device),
    }


def _machine(device: torch.device) -> dict[str, Any]:
    """What the time of a pass depends on beside the network."""
    hardware, versions = describe_hardware(), describe_versions()
    where = {"cpu": hardware["cpu"], "threads": hardware["threads"]}
    on_cpu = device.type == "cpu"
    return {
        "versions": {name: text for name, text in versions.items() if name not in _NO_MATTER},
        "device": where if on_cpu else hardware["gpus"][device.index or 0]["name"],
    }


def find_costs(model: LoadedModel) -> CostTable | None:
    """Return what was measured for this model here, or None.

    Raises:
        RequestError: the file is damaged.
    """
    path = _path(identity(model))
    return _read(path)[1] if path.is_file() else None


def recorded_costs(reference: str, engine: str, device: torch.device) -> CostTable | None:
    """Return what was last measured here for a model of that origin, without loading it, or None.

    Raises:
        RequestError: a file is damaged.
    """
    here = {"engine": engine, **_machine(device)}
    paths = _folder().glob("*.json")
    for path in sorted(paths, key=lambda each: each.stat().st_mtime, reverse=True):
        entry, costs = _read(path)
        measured = entry["measured"]
        if entry["model"] == reference and here == {name: measured[name] for name in here}:
            return costs
    return None


def _read(path: Path) -> tuple[dict[str, Any], CostTable]:
    try:
        entry = json.loads(path.read_text("utf-8"))
        seconds = {(rows, fed): seconds for rows, fed, seconds in entry["seconds"]}
        return entry, CostTable(seconds)
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(
            f"{path} holds no measured costs", hint="delete it and run `dlmkit profile` again"
        ) from error


def keep_costs(model: LoadedModel, costs: CostTable) -> Path:
    """Write what was measured for this model, in place of what was; return the file."""
    measured = identity(model)
    path = _path(measured)
    path.parent.mkdir(parents=True, exist_ok=True)
    seconds = [[rows, fed, time] for (rows, fed), time in sorted(costs.seconds.items())]
    content = {
        "format": FORMAT,
        "model": model.provenance.reference,
        "measured": measured,
        "seconds": seconds,
    }
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps(content, indent=1), "utf-8")
    unfinished.replace(path)
    return path


def _path(measured: dict[str, Any]) -> Path:
    text = json.dumps(measured, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:20]
    return _folder() / f"{key}.json"


def _folder() -> Path:
    return Path(platformdirs.user_cache_dir("dlmkit")) / "costs"
