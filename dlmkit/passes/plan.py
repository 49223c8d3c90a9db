"""Plans: which positions a forward pass computes, which it reads from the store, what it keeps.

Cache policies return plans and nothing else; the session turns a plan into tensors.  The store
has one slot for each canvas position.

Legend: B rows, N canvas positions, P window positions, Q fed positions, H shadows, Y layers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

if TYPE_CHECKING:
    from dlmkit.passes.layer_steps import LayerSteps

__all__ = ["Plan"]


@attrs.frozen(kw_only=True, eq=False)
class Plan:
    """One forward pass over part of the canvas.

    `feed_BQ` int64 canvas positions in any order; `feed_valid_BQ` is false on filler queries,
    which see only themselves, are never kept and never read (None: no filler).  `cached_BN` marks
    stored positions that may be read (None: none); a fed position is never read from the store.
    `commit_BQ` marks fed positions whose fresh keys and values are stored (None: none).
    `prefix_B` is the number of leading positions that see only each other (None: 0).
    `whole` says that `feed_BQ` is every position in order, `keeps_all` that all of that is stored,
    where it is known.  `width` bounds the fed positions of
    every row where that is known without reading a tensor (None: it is not).

    `layers_BNY` narrows what each layer reads in rows that read any of `cached_BN` (None: not at
    all): positions of `cached_BN` that are not fed, as many in every layer of a row, at most
    `layers_width`.  The same tensor in the next plan says that nothing of it has changed.
    `watched_BN` are the fed positions whose
    queries `Taps.relevance_BNY` is about (None: it is not needed in this pass).

    `layer_steps` says what each layer of a whole pass computes; nothing is stored then, the
    session keeps what the layers gave.

    `shadow_BH` int64 names positions that are predicted once more, each by a *shadow*: a query of
    its own, after the fed ones, that sees what an ordinary query there would see except the token
    at the position, and that no ordinary query sees; with `shadows_meet` shadows see each other.
    A shadow is never kept; one that is false in `shadow_valid_BH` (None: all are true) is filler.
    """

    feed_BQ: Tensor
    feed_valid_BQ: Tensor | None = None
    cached_BN: Tensor | None = None
    commit_BQ: Tensor | None = None
    prefix_B: Tensor | None = None
    whole: bool = False
    keeps_all: bool = False
    width: int | None = None
    layers_BNY: Tensor | None = None
    layers_width: int = 0
    watched_BN: Tensor | None = None
    layer_steps: LayerSteps | None = None
    shadow_BH: Tensor | None = None
    shadow_valid_BH: Tensor | None = None
    shadows_meet: bool = False

    @classmethod
    def full(cls, tokens_BN: Tensor, *, commit: bool = False) -> Plan:
        """Compute every position and read nothing; with `commit`, store everything."""
        return _whole(*tokens_BN.shape, tokens_BN.device, commit)

    @classmethod
    def of(
        cls,
        compute_BN: Tensor,
        *,
        cached_BN: Tensor | None = None,
        commit_BN: Tensor | None = None,
        prefix_B: Tensor | None = None,
        width: int | None = None,
    ) -> Plan:
        """Compute the marked positions; rows may mark different numbers of them.

        What is marked as cached and computed is computed; what is marked to be committed and is
        not computed stays as it is.  The session cuts the plan to `width`, the most positions
        that a row can mark, or else to what the busiest row does mark.
        """
        feed_BQ = compute_BN.int().argsort(dim=1, descending=True, stable=True)
        return cls(
            feed_BQ=feed_BQ,
            feed_valid_BQ=compute_BN.gather(1, feed_BQ),
            cached_BN=None if cached_BN is None else cached_BN & ~compute_BN,
            commit_BQ=None if commit_BN is None else (commit_BN & compute_BN).gather(1, feed_BQ),
            prefix_B=prefix_B,
            width=width,
        )

    def computed_BN(self, columns: int) -> Tensor:
        """Which canvas positions are computed, bool."""
        return self._marks(self.feed_valid_BQ, columns, otherwise=True)

    def committed_BN(self, columns: int) -> Tensor:
        """Which canvas positions are computed and stored, bool."""
        return self._marks(self.commit_BQ, columns, otherwise=False)

    @property
    def watch_BQ(self) -> Tensor | None:
        """Fed positions, without filler, whose queries are watched, bool; None: nothing is."""
        if self.watched_BN is None:
            return None
        watch_BQ = self.watched_BN.gather(1, self.feed_BQ)
        return watch_BQ if self.feed_valid_BQ is None else watch_BQ & self.feed_valid_BQ

    def predicted_BP(self, positions_BP: Tensor, logit_shift: int, columns: int) -> Tensor:
        """Which of these positions get a prediction from the positions that are fed, bool."""
        source_BP = (positions_BP - logit_shift).clamp_min(0)
        computed_BN = self.computed_BN(columns)
        if self.layer_steps is not None and self.layer_steps.predict_BN is not None:
            computed_BN = computed_BN & self.layer_steps.predict_BN
        return computed_BN.gather(1, source_BP)

    @property
    def sized(self) -> bool:
        """Whether it is known without reading a tensor how many positions are fed."""
        return self.feed_valid_BQ is None or self.width is not None

    def trimmed(self, columns: int) -> Plan:
        """Cut filler that no row of a canvas of that many columns needs.

        Without a stated width that is one small host read, which also drops a cache that no row
        reads and marks that are all true, and tells whether everything is fed, and stored.
        """
        if self.feed_valid_BQ is None:
            return self
        if self.width is not None:
            return self._cut(min(self.width, self.feed_BQ.shape[1]), self.feed_valid_BQ)
        places_Q = torch.arange(1, self.feed_BQ.shape[1] + 1, device=self.feed_BQ.device)
        used_B = torch.where(self.feed_valid_BQ, places_Q, 0).amax(dim=1)
        full_B = self.feed_valid_BQ.sum(dim=1)
        no = used_B.new_zeros(())
        reads = no if self.cached_BN is None else self.cached_BN.any().long()
        keeps = no if self.commit_BQ is None else self.commit_BQ.all().long()
        ordered = (self.feed_BQ + 1 == places_Q).all().long()
        asked = used_B.amax(), full_B.amin(), reads, keeps, ordered
        width, fewest, reading, keeping, in_order = torch.stack(asked).tolist()
        cut = self._cut(width, None if fewest == width else self.feed_valid_BQ)
        whole = bool(in_order) and fewest == columns
        cut = attrs.evolve(cut, whole=whole, keeps_all=whole and bool(keeping))
        return cut if reading else attrs.evolve(cut, cached_BN=None)

    def _cut(self, width: int, feed_valid_BQ: Tensor | None) -> Plan:
        return attrs.evolve(
            self,
            feed_BQ=self.feed_BQ[:, :width],
            feed_valid_BQ=None if feed_valid_BQ is None else feed_valid_BQ[:, :width],
            commit_BQ=None if self.commit_BQ is None else self.commit_BQ[:, :width],
        )

    def places_BN(self, columns: int) -> Tensor:
        """Where among the fed positions each canvas position is, int64; -1 where it is not."""
        order_BQ = torch.arange(self.feed_BQ.shape[1], device=self.feed_BQ.device)
        place_BM = torch.full((self.feed_BQ.shape[0], columns + 1), -1, device=self.feed_BQ.device)
        target_BQ = self._targets(self.feed_valid_BQ, columns, otherwise=True)
        return place_BM.scatter(1, target_BQ, order_BQ.expand_as(target_BQ))[:, :columns]

    def _marks(self, where_BQ: Tensor | None, columns: int, *, otherwise: bool) -> Tensor:
        target_BQ = self._targets(where_BQ, columns, otherwise=otherwise)
        marks_BM = torch.zeros(
            self.feed_BQ.shape[0], columns + 1, dtype=torch.bool, device=self.feed_BQ.device
        )
        return marks_BM.scatter(1, target_BQ, True)[:, :columns]

    def _targets(self, where_BQ: Tensor | None, columns: int, *, otherwise: bool) -> Tensor:
        """The canvas position of each marked fed one; the others go beyond the end."""
        if where_BQ is None:
            return self.feed_BQ if otherwise else torch.full_like(self.feed_BQ, columns)
        return torch.where(where_BQ, self.feed_BQ, columns)


@lru_cache(maxsize=8)
def _whole(rows: int, columns: int, device: torch.device, commit: bool) -> Plan:
    """All positions of every row in order; the same in each step of a decode."""
    feed_BQ = torch.arange(columns, device=device).expand(rows, columns)
    keep_BQ = torch.ones_like(feed_BQ, dtype=torch.bool) if commit else None
    return Plan(feed_BQ=feed_BQ, commit_BQ=keep_BQ, whole=True, keeps_all=commit)
