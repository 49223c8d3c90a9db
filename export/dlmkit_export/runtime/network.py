"""A bundle behind the network contract, run by ONNX Runtime.

Legend: B rows, Q fed positions, C cache slots, S wanted rows, K candidates, V vocabulary,
Y layers, G key/value heads, E head dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from dlmkit.errors import EngineError
from dlmkit.host.kept import Kept
from dlmkit.network import KeyValues, NetworkInfo, NetworkInputs, NetworkOutput
from dlmkit.prediction import ScorePack, score_pack
from dlmkit_export.contract import ATTENTION_TAPS, FRESH, LOGITS, PACK
from dlmkit_export.runtime.ability_calls import (
    ability_feeds,
    ability_of,
    ability_outputs,
    taps_of,
)
from dlmkit_export.runtime.changed import refuse_missing
from dlmkit_export.runtime.feeds import feeds
from dlmkit_export.runtime.in_place import feeds_in_place, rooms_of

if TYPE_CHECKING:
    from dlmkit.engine import LoadOptions
    from dlmkit.need import Need
    from dlmkit_export.bundle.manifest import Manifest
    from dlmkit_export.runtime.bound import Output
    from dlmkit_export.runtime.graph_runner import GraphRunner

__all__ = ["OnnxNetwork"]


class OnnxNetwork:
    """Runs the graph with the score pack, or the one with logits where somebody needs them.

    A pass that needs an ability runs the graph that has it.  A graph is loaded when it is first
    used.  `options` are those that it was loaded with.
    """

    def __init__(
        self,
        info: NetworkInfo,
        manifest: Manifest,
        open_graph: Callable[[str], GraphRunner],
        options: LoadOptions,
    ) -> None:
        self.info = info
        self.options = options
        self._manifest = manifest
        self._open_graph = open_graph
        self._graphs: dict[str, GraphRunner] = {}
        self._kept = Kept()

    def forward(self, inputs: NetworkInputs, need: Need) -> NetworkOutput:
        """Run one pass over the fed positions.

        Raises:
            EngineError: the bundle does not offer the statistics or an ability, or has no bucket
                large enough.
        """
        packed = not need.logits and need.top <= self._manifest.graphs.candidates
        ability = ability_of(inputs, need)
        name = self._file(ability, need, packed=packed)
        kept, in_place = self._kept, self.info.cache_slots is not None
        make = feeds_in_place if in_place else feeds
        sizes, given = make(inputs, self.info, self._manifest.buckets, kept, current=packed)
        slots = 0 if ability is None else given["past_keys"].shape[3]
        given |= ability_feeds(inputs, ability, sizes[1])
        outputs = kept.of(
            ("outputs", name),
            (*sizes, slots),
            lambda: (
                self._outputs(sizes, packed=packed)
                | ability_outputs(ability, self.info.layers, *sizes[:2], slots)
            ),
        )
        rooms = rooms_of(inputs.past) if in_place and inputs.past else {}
        found = self._graph(name).run(given, outputs, reuse=packed, rooms=rooms)
        output = self._output(found, inputs, need, packed=packed)
        if ability != ATTENTION_TAPS:
            return output
        attention_YBQK, relevance_YBQ = taps_of(found, inputs, need, slots)
        return attrs.evolve(output, attention_YBQK=attention_YBQK, relevance_YBQ=relevance_YBQ)

    def _output(
        self, found: Mapping[str, Tensor], inputs: NetworkInputs, need: Need, *, packed: bool
    ) -> NetworkOutput:
        """What every graph returns, in memory that the next run leaves alone but for `fresh`."""
        kept, in_place = self._kept, self.info.cache_slots is not None
        fed, wanted = inputs.ids_BQ.shape[1], inputs.want_BS.shape[1]
        fresh = None if in_place else kept.of("fresh", (found, fed), lambda: _fresh(found, fed))
        if packed:
            parts = kept.of("pack", (found, need, wanted), lambda: _parts(found, need, wanted))
            return NetworkOutput(pack=_copied(parts), logits_BSV=None, fresh=fresh)
        logits_BSV = _first(found[LOGITS], wanted, dim=1)
        return NetworkOutput(
            pack=score_pack(logits_BSV, need, inputs.current_BS),
            logits_BSV=logits_BSV if need.logits else None,
            fresh=fresh,
        )

    def _file(self, ability: str | None, need: Need, *, packed: bool) -> str:
        """The graph of such a call."""
        graphs = self._manifest.graphs
        if ability is not None:
            refuse_missing(frozenset({ability}), "this bundle", self._manifest)
        name = graphs.file(ability, packed=packed)
        if name is None:
            raise _not_offered(need, graphs.candidates)
        return name

    def _graph(self, name: str) -> GraphRunner:
        if name not in self._graphs:
            self._graphs[name] = self._open_graph(name)
        return self._graphs[name]

    def _outputs(self, sizes: tuple[int, int, int], *, packed: bool) -> dict[str, Output]:
        """Shape and type of every output, apart from a cache that is written."""
        rows, fed, wanted = sizes
        info, wide = self.info, torch.float32
        kept = min(self._manifest.graphs.candidates, info.vocab_size)
        shapes: dict[str, Output] = {}
        if packed:
            shapes = dict.fromkeys(PACK, ((rows, wanted), wide))
            shapes["top_ids"] = ((rows, wanted, kept), torch.int64)
            shapes["top_logp"] = ((rows, wanted, kept), wide)
        else:
            shapes[LOGITS] = ((rows, wanted, info.vocab_size), wide)
        if info.cache_slots is not None:
            return shapes
        fresh = (info.layers, rows, info.kv_heads, fed, info.head_dim)
        return shapes | dict.fromkeys(FRESH, (fresh, info.dtype))


def _fresh(found: Mapping[str, Tensor], fed: int) -> KeyValues:
    keys_YBGQE, values_YBGQE = (_first(found[each], fed, dim=3) for each in FRESH)
    return KeyValues(keys_YBGCE=keys_YBGQE, values_YBGCE=values_YBGQE)


def _first(values: Tensor, count: int, dim: int) -> Tensor:
    """Cut off what was padded, if anything."""
    return values if values.shape[dim] == count else values.narrow(dim, 0, count)


def _parts(found: Mapping[str, Tensor], need: Need, wanted: int) -> ScorePack:
    """What was asked for, of what the graph returns, where it returns it."""
    part = {name: _first(found[name], wanted, dim=1) for name in PACK}
    return ScorePack(
        top_ids_BPK=part["top_ids"][..., : need.top],
        top_logp_BPK=part["top_logp"][..., : need.top],
        lse_BP=part["lse"],
        entropy_BP=part["entropy"] if need.entropy else None,
        current_logp_BP=part["current_logp"] if need.current else None,
    )


def _copied(pack: ScorePack) -> ScorePack:
    """The same in memory that the next run leaves alone."""
    entropy_BP, current_BP = pack.entropy_BP, pack.current_logp_BP
    return ScorePack(
        top_ids_BPK=pack.top_ids_BPK.clone(),
        top_logp_BPK=pack.top_logp_BPK.clone(),
        lse_BP=pack.lse_BP.clone(),
        entropy_BP=None if entropy_BP is None else entropy_BP.clone(),
        current_logp_BP=None if current_BP is None else current_BP.clone(),
    )


def _not_offered(need: Need, candidates: int) -> EngineError:
    what = "full logits" if need.logits else f"{need.top} candidates of each position"
    return EngineError(
        f"this decode needs {what}; the bundle offers {candidates} candidates and no logits",
        hint="export again without --no-logits"
        + ("" if need.logits else f", or with --score-pack {need.top}"),
    )
