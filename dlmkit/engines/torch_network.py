"""A network on PyTorch: one stateless call over the shared decoder.

Legend: B rows, Q fed positions, C cache slots, K = C + Q keys, S wanted rows, V vocabulary,
D hidden size, Y layers, G key/value heads, E head dimension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from dlmkit.engines.memory import head_rows_at_once, out_of_memory
from dlmkit.engines.torch_engine import EAGER_ONLY
from dlmkit.models.attention_tap import AttentionTap
from dlmkit.models.decoder import Decoder
from dlmkit.models.free_memory import is_out_of_memory
from dlmkit.models.layerwise import run_layers
from dlmkit.network import KeyValues, NetworkInfo, NetworkInputs, NetworkOutput
from dlmkit.prediction import ScorePack, score_pack

if TYPE_CHECKING:
    from dlmkit.models.text_module import TextModule
    from dlmkit.need import Need
    from dlmkit.passes.latents import Latents
    from dlmkit.passes.layer_steps import LayerSteps

__all__ = ["TorchNetwork"]


class TorchNetwork:
    """The shared decoder behind the network contract, eager or compiled.

    Only the wanted rows go through the final norm and the head, in slices small enough that
    the vocabulary-sized intermediate stays bounded.  Autograd is off and results belong to
    inference mode: copy before writing into them.
    """

    def __init__(self, decoder: TextModule, info: NetworkInfo, *, compiled: bool = False) -> None:
        self.decoder = decoder
        abilities = decoder.abilities - EAGER_ONLY if compiled else decoder.abilities
        self.info = attrs.evolve(
            info,
            capabilities=info.capabilities | abilities,
            latent_dim=decoder.arch.hidden if "latents" in abilities else 0,
            latent_scale=decoder.latent_scale,
            recordable=not compiled,
        )
        self._trunk = torch.compile(decoder, dynamic=True) if compiled else decoder
        self._head = torch.compile(decoder.head, dynamic=True) if compiled else decoder.head

    def forward(self, inputs: NetworkInputs, need: Need) -> NetworkOutput:
        """Run one pass over the fed positions.

        Raises:
            EngineError: the device has too little memory; the message says what would fit.
        """
        try:
            with torch.inference_mode():
                return self._forward(inputs, need)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise out_of_memory(self.decoder.arch, self.info, inputs, need) from error

    def _forward(self, inputs: NetworkInputs, need: Need) -> NetworkOutput:
        if inputs.layer_steps is not None:
            return self._by_layers(inputs, inputs.layer_steps, need)
        if inputs.latents is not None:
            return self._refined(inputs, inputs.latents, need)
        past = inputs.past
        tap = AttentionTap(weights="rollout" in need.taps, watch_BQ=inputs.watch_BQ)
        hidden_BQD, keys_YBGQE, values_YBGQE = self._trunk(
            inputs.ids_BQ,
            inputs.positions_BQ,
            _joined_mask(inputs),
            None if past is None else past.keys_YBGCE,
            None if past is None else past.values_YBGCE,
            **({"tap": tap} if need.taps else {}),
            **self._mixed(inputs),
            **_noise(inputs),
        )
        fresh = KeyValues(keys_YBGCE=keys_YBGQE, values_YBGCE=values_YBGQE)
        return attrs.evolve(
            self._output(hidden_BQD, fresh, inputs, need),
            attention_YBQK=tap.attention_YBQK,
            relevance_YBQ=tap.relevance_YBQ,
        )

    def _by_layers(self, inputs: NetworkInputs, steps: LayerSteps, need: Need) -> NetworkOutput:
        assert isinstance(self.decoder, Decoder)  # noqa: S101 - it offers `layer-steps`
        hidden_BND, features, computed = run_layers(
            self.decoder,
            inputs.ids_BQ,
            inputs.positions_BQ,
            inputs.mask_new_B1QQ,
            steps,
            inputs.features,
        )
        keys, values = features.keys_YBGME[:, :, :, :-1], features.values_YBGME[:, :, :, :-1]
        fresh = KeyValues(keys_YBGCE=keys, values_YBGCE=values)
        found = self._output(hidden_BND, fresh, inputs, need)
        return attrs.evolve(found, features=features, computed=computed)

    def _refined(self, inputs: NetworkInputs, latents: Latents, need: Need) -> NetworkOutput:
        past = inputs.past
        hidden_BQD, after, keys_YBGQE, values_YBGQE = self.decoder.refine(
            inputs.ids_BQ,
            inputs.positions_BQ,
            latents,
            _joined_mask(inputs),
            None if past is None else past.keys_YBGCE,
            None if past is None else past.values_YBGCE,
        )
        fresh = KeyValues(keys_YBGCE=keys_YBGQE, values_YBGCE=values_YBGQE)
        return attrs.evolve(self._output(hidden_BQD, fresh, inputs, need), latents=after)

    def _mixed(self, inputs: NetworkInputs) -> dict[str, Tensor]:
        """The embeddings of mixtures, where some are fed."""
        if inputs.mix_ids_BQK is None or inputs.mix_weights_BQK is None:
            return {}
        mixed_BQD = self.decoder.mixed(inputs.mix_ids_BQK, inputs.mix_weights_BQK)
        return {"embeds_BQD": mixed_BQD}

    def _output(
        self, hidden_BQD: Tensor, fresh: KeyValues, inputs: NetworkInputs, need: Need
    ) -> NetworkOutput:
        """Score the wanted rows, a slice of them at a time."""
        index_BSD = inputs.want_BS[..., None].expand(-1, -1, hidden_BQD.shape[-1])
        hidden_BSD = hidden_BQD.gather(1, index_BSD)
        rows = head_rows_at_once(hidden_BSD.shape[0], self.info.vocab_size)
        packs, logits = [], []
        for start in range(0, max(hidden_BSD.shape[1], 1), rows):
            part = slice(start, start + rows)
            part_BSV = _wide(self._head(hidden_BSD[:, part], **_noise(inputs)))
            current = None if inputs.current_BS is None else inputs.current_BS[:, part]
            packs.append(score_pack(part_BSV, need, current))
            if need.logits:
                logits.append(part_BSV)
        return NetworkOutput(
            pack=_joined_packs(packs),
            logits_BSV=_joined(logits) if need.logits else None,
            fresh=fresh,
        )


def _noise(inputs: NetworkInputs) -> dict[str, Tensor]:
    """The noise level, for modules that take one."""
    return {} if inputs.noise_B is None else {"noise_B": inputs.noise_B}


def _joined_mask(inputs: NetworkInputs) -> Tensor | None:
    """Put the cache part and the fresh part of the mask side by side, `mask_B1QK`."""
    new_B1QQ, past_B1QC = inputs.mask_new_B1QQ, inputs.mask_past_B1QC
    if past_B1QC is None:
        return new_B1QQ
    if new_B1QQ is None:
        rows, count = inputs.ids_BQ.shape
        new_B1QQ = torch.ones(
            (rows, 1, count, count), dtype=torch.bool, device=inputs.ids_BQ.device
        )
    return torch.cat((past_B1QC, new_B1QQ), dim=-1)


def _wide(logits_BSV: Tensor) -> Tensor:
    """Statistics are taken in float32 at least."""
    return logits_BSV if logits_BSV.dtype == torch.float64 else logits_BSV.float()


def _joined(parts: list[Tensor]) -> Tensor:
    """Join slices of the wanted rows; the usual single slice is passed on as it is."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _joined_packs(packs: list[ScorePack]) -> ScorePack:
    """Join the packs of slices of the wanted rows."""
    if len(packs) == 1:
        return packs[0]
    entropies = [pack.entropy_BP for pack in packs if pack.entropy_BP is not None]
    currents = [pack.current_logp_BP for pack in packs if pack.current_logp_BP is not None]
    return ScorePack(
        top_ids_BPK=_joined([pack.top_ids_BPK for pack in packs]),
        top_logp_BPK=_joined([pack.top_logp_BPK for pack in packs]),
        lse_BP=_joined([pack.lse_BP for pack in packs]),
        entropy_BP=_joined(entropies) if entropies else None,
        current_logp_BP=_joined(currents) if currents else None,
    )
