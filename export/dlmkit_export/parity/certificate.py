"""The certificate that a bundle carries: how it compares with the network it was made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from dlmkit.errors import ModelError
from dlmkit_export.bundle.manifest import MANIFEST
from dlmkit_export.bundle.verify import record_of
from dlmkit_export.parity.paired import Comparison, Divergence

__all__ = ["PARITY", "Certificate", "Verdict", "judge", "read_certificate"]

PARITY = "parity.json"

Verdict = Literal["identical", "equal up to rounding", "different"]


@attrs.frozen(kw_only=True)
class Certificate:
    """What was compared, on what, and how it came out.

    `errors` are largest absolute differences by output; `texts` says how many of the prompts
    decode to the same tokens on both; `manifest` is the digest of the manifest compared.
    """

    against: str
    candidate: str
    pipeline: str
    prompts: int
    texts: int
    calls: int
    decisions: int
    differing: int
    widest_margin: float
    first: Divergence | None
    errors: Mapping[str, float]
    verdict: Verdict
    manifest: str

    def write(self, folder: Path) -> None:
        """Write the certificate into the bundle."""
        text = json.dumps(attrs.asdict(self), indent=2, sort_keys=True)
        (folder / PARITY).write_text(text + "\n", "utf-8")

    def holds_for(self, folder: Path) -> bool:
        """Whether the bundle is still the one that was compared."""
        return self.manifest == record_of(folder / MANIFEST).sha256


def judge(comparison: Comparison, *, texts_equal: bool) -> Verdict:
    """Say what the comparison means.

    A decision may turn on rounding where the two best tokens were closer than twice the largest
    error of a log-probability; anything else is a fault of the compiled network.
    """
    if not comparison.differing and texts_equal:
        return "identical"
    bound = 2 * comparison.errors.get("top_logp", 0.0)
    return "equal up to rounding" if comparison.widest_margin <= bound else "different"


def read_certificate(folder: Path) -> Certificate | None:
    """Return the certificate of a bundle, or None where it was never compared.

    Raises:
        ModelError: it is damaged.
    """
    path = folder / PARITY
    if not path.is_file():
        return None
    try:
        fields: dict[str, Any] = json.loads(path.read_text("utf-8"))
        first = fields["first"]
        return Certificate(**{**fields, "first": None if first is None else Divergence(**first)})
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} is damaged: {error}", hint="compare again with `dlmkit parity`"
        ) from error
