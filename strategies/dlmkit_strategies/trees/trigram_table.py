"""Tri-gram statistics in a file: which tokens follow which pairs, and how often.

`python -m dlmkit_strategies.trees.count_trigrams MODEL TEXT OUT` writes one of a text file.

Legend: B rows, F pairs asked for, M pairs of the table, K successors kept for a pair.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dlmkit.errors import RequestError

__all__ = ["TrigramTable", "table_file"]

TABLES = Path(__file__).parent / "tables"

KEPT = 12
"""Successors of a pair that are kept, as in ADED's code."""

WIDE = 1 << 31
"""More tokens than any vocabulary has, so that a pair is one number."""


def table_file(reference: str) -> Path:
    """The file of a table: a path, or `builtin/NAME` for one that comes with dlmkit."""
    kind, _, name = reference.partition("/")
    return TABLES / f"{name}.safetensors" if kind == "builtin" else Path(reference)


@attrs.frozen(eq=False)
class TrigramTable:
    """Pairs of tokens, what followed each of them, and how often.

    `pair_M` int64 in rising order, first x 2^31 + second; their `next_MK` int32, best first, -1
    where there are fewer; `share_MK` float32, parts of all that followed the pair.
    """

    pair_M: Tensor
    next_MK: Tensor
    share_MK: Tensor

    @classmethod
    def counted(cls, texts: Iterable[Sequence[int]], kept: int = KEPT) -> TrigramTable:
        """Count every three neighbours of every text; ties go to the lowest token."""
        counts: defaultdict[int, Counter[int]] = defaultdict(Counter)
        for text in texts:
            for first, second, third in zip(text, text[1:], text[2:], strict=False):
                counts[first * WIDE + second][third] += 1
        pairs = sorted(counts)
        rows = [_best(counts[pair], kept) for pair in pairs]
        tokens = [[token for token, _ in row] for row in rows]
        shares = [[share for _, share in row] for row in rows]
        return cls(
            torch.tensor(pairs, dtype=torch.int64),
            torch.tensor(tokens, dtype=torch.int32).reshape(-1, kept),
            torch.tensor(shares, dtype=torch.float32).reshape(-1, kept),
        )

    @classmethod
    def read(cls, path: str | Path, vocabulary: int, device: torch.device | str) -> TrigramTable:
        """Load a file that `write` has written.

        Raises:
            RequestError: there is no such file, or it is none, or of another vocabulary.
        """
        try:
            with safe_open(path, "pt", device=str(device)) as file:
                found = {name: file.get_tensor(name) for name in ("pair_M", "next_MK", "share_MK")}
        except (OSError, SafetensorError) as error:
            raise RequestError(
                f"'{path}' is no table of tri-grams: {error}",
                hint="write one: python -m dlmkit_strategies.trees.count_trigrams MODEL TEXT OUT",
            ) from error
        table = cls(**found)
        largest = int(table.next_MK.amax()) if table.next_MK.numel() else 0
        if largest >= vocabulary:
            raise RequestError(
                f"'{path}' counts token {largest}, and the verifier has {vocabulary} tokens",
                hint="count the text with the verifier's own tokenizer",
            )
        return table

    def write(self, path: Path) -> None:
        """Save the table."""
        save_file(attrs.asdict(self), path)

    def after(self, pair_BF2: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """The successors of each pair, `next_BFK`, -1 on filler, and their shares, float64."""
        if not len(self.pair_M):
            none_BF0 = pair_BF2[..., :0]
            return none_BF0, none_BF0.double()
        kept = min(most, self.next_MK.shape[1])
        asked_BF = pair_BF2[..., 0] * WIDE + pair_BF2[..., 1]
        place_BF = torch.searchsorted(self.pair_M, asked_BF).clamp_max(len(self.pair_M) - 1)
        known_BF1 = (self.pair_M[place_BF] == asked_BF)[..., None]
        next_BFK = torch.where(known_BF1, self.next_MK[place_BF, :kept].long(), -1)
        return next_BFK, torch.where(known_BF1, self.share_MK[place_BF, :kept].double(), 0.0)


def _best(counts: Counter[int], kept: int) -> list[tuple[int, float]]:
    """The most frequent tokens and their shares, filled up with no token."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:kept]
    total = counts.total()
    found = [(token, count / total) for token, count in ranked]
    return found + [(-1, 0.0)] * (kept - len(found))
