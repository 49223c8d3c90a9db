"""DiffusionGemma behind the contract of all networks.

Legend: B rows, Q fed positions, S wanted rows, K mixed tokens, V vocabulary, U positions read
causally, W positions of the block.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dlmkit.errors import EngineError
from dlmkit.need import Need
from dlmkit.network import KeyValues, NetworkInfo, NetworkInputs, NetworkOutput
from dlmkit.prediction import score_pack

__all__ = ["GemmaNetwork"]


class GemmaNetwork:
    """Transformers' class, called row by row: its encoder reads the text, its decoder the block.

    What belongs to the block is seen from the mask: a position that sees the last one.  Mixed
    inputs are the distributions of the step before (self-conditioning); without any, or with no
    shares but the fed token's, there are none.  No keys and values are kept, so every pass
    computes everything.
    """

    def __init__(self, model: Any, info: NetworkInfo) -> None:
        self.model = model
        self.info = info

    def forward(self, inputs: NetworkInputs, need: Need) -> NetworkOutput:
        """Run one pass over the fed positions.

        Raises:
            EngineError: something is to be read from the store, or a row has no text or no block.
        """
        if inputs.past is not None:
            raise EngineError(
                "transformers' DiffusionGemma keeps no keys and values here",
                hint="use the cache policy causal-prefix with `store: false`",
            )
        with torch.inference_mode():
            rows = [self._row(inputs, row) for row in range(inputs.ids_BQ.shape[0])]
        logits_BQV = torch.stack(rows)
        index_BSV = inputs.want_BS[..., None].expand(-1, -1, logits_BQV.shape[-1])
        logits_BSV = logits_BQV.gather(1, index_BSV)
        nothing = logits_BQV.new_zeros((0, len(rows), 1, inputs.ids_BQ.shape[1], 1))
        return NetworkOutput(
            pack=score_pack(logits_BSV, need, inputs.current_BS),
            logits_BSV=logits_BSV if need.logits else None,
            fresh=KeyValues(keys_YBGCE=nothing, values_YBGCE=nothing),
        )

    def _row(self, inputs: NetworkInputs, row: int) -> Tensor:
        """Logits `[Q, V]` of a row, in the order of feeding; zero outside the block."""
        text_U, block_W = _parts(inputs, row)
        ids_Q, positions_Q = inputs.ids_BQ[row], inputs.positions_BQ[row]
        output = self.model(
            input_ids=ids_Q[text_U][None],
            position_ids=positions_Q[text_U][None],
            decoder_input_ids=ids_Q[block_W][None],
            decoder_position_ids=positions_Q[block_W][None],
            self_conditioning_logits=self._shown(inputs, row, block_W),
        )
        logits_QV: Tensor = output.logits.new_zeros((len(ids_Q), self.info.vocab_size))
        logits_QV[block_W] = output.logits[0]
        return logits_QV

    def _shown(self, inputs: NetworkInputs, row: int, block_W: Tensor) -> Tensor | None:
        """Logarithms of the shares of the step before, `[1, W, V]`; the fed token's is left out."""
        if inputs.mix_ids_BQK is None or inputs.mix_weights_BQK is None:
            return None
        ids_WK = inputs.mix_ids_BQK[row, block_W, 1:]
        shares_WK = inputs.mix_weights_BQK[row, block_W, 1:]
        if not bool(shares_WK.any()):
            return None
        shares_WV = shares_WK.new_zeros((len(block_W), self.info.vocab_size))
        logits_1WV: Tensor = shares_WV.scatter_add(1, ids_WK, shares_WK).log()[None]
        return logits_1WV


def _parts(inputs: NetworkInputs, row: int) -> tuple[Tensor, Tensor]:
    """Which fed positions are the text read causally, and which the block, in order."""
    mask_B1QQ = inputs.mask_new_B1QQ
    if mask_B1QQ is not None:
        seen_QQ = mask_B1QQ[min(row, len(mask_B1QQ) - 1), 0]
        real_Q = (seen_QQ.sum(dim=0) > 1) | (seen_QQ.sum(dim=1) > 1)
        last = int(torch.where(real_Q, inputs.positions_BQ[row], -1).argmax())
        free_Q = seen_QQ[:, last]
        text_U, block_W = (real_Q & ~free_Q).nonzero()[:, 0], (real_Q & free_Q).nonzero()[:, 0]
        if len(text_U) and len(block_W):
            return text_U, block_W
    raise EngineError(
        "DiffusionGemma reads a text, and a block that sees all of it",
        hint="use the cache policy causal-prefix with `store: false`",
    )
