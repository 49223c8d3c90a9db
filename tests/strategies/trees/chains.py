"""A causal network whose next token hangs on the last one alone, and decodes with it.

Trees are drawn by `recursive` and `beams` (recursive speculative decoding, arXiv:2402.14160).
"""

from __future__ import annotations

import torch

from dlmkit.canvas import Canvas
from dlmkit.context import Context
from dlmkit.models.arch import AttentionPattern
from dlmkit.network import KeyValues, NetworkInfo, NetworkOutput
from dlmkit.passes.session import Session
from dlmkit.prediction import score_pack
from dlmkit.spec import load_spec


class MarkovNetwork:
    """Rows of a table of logits, `table_VV`, looked up by the token that is fed."""

    def __init__(self, table_VV):
        self.table_VV = table_VV.double()
        self.info = NetworkInfo(
            vocab_size=len(table_VV),
            mask_id=None,
            eos_ids=(),
            max_positions=512,
            attention=AttentionPattern(kind="causal"),
            layers=1,
            kv_heads=1,
            head_dim=1,
            dtype=torch.float64,
            device=torch.device("cpu"),
            logit_shift=1,
        )

    def forward(self, inputs, need):
        """Attention plays no part."""
        logits = self.table_VV[inputs.ids_BQ.gather(1, inputs.want_BS)]
        nothing = inputs.ids_BQ[None, :, None, :, None].double()
        return NetworkOutput(
            pack=score_pack(logits, need, inputs.current_BS),
            logits_BSV=logits,
            fresh=KeyValues(keys_YBGCE=nothing, values_YBGCE=nothing),
        )


def markov(seed, vocabulary=9, spread=2.0):
    """A random chain."""
    generator = torch.Generator().manual_seed(seed)
    return MarkovNetwork(spread * torch.randn(vocabulary, vocabulary, generator=generator))


def recursive(*widths):
    """The pipeline of RSD-C: children of a node at each depth."""
    changes = [
        f"pipeline.draft.widths={list(widths)}",
        f"pipeline.judge.brothers={max(widths)}",
        f"pipeline.schedule.steps={len(widths)}",
        "pipeline.verifier.stop=[]",
    ]
    return load_spec("recursive-speculation", changes).pipeline


def beams(width, depth):
    """The pipeline of RSD-S: the best texts of each depth."""
    changes = [
        f"pipeline.draft.beams={width}",
        f"pipeline.judge.brothers={width}",
        f"pipeline.schedule.steps={depth}",
        "pipeline.verifier.stop=[]",
    ]
    return load_spec("recursive-speculation-beams", changes).pipeline


def decoded(pipeline, networks, prompts, new, seed=0, first_sample=0):
    """The new tokens of each row, the records, and the sessions."""
    sessions = {name: Session(each) for name, each in networks.items()}
    vocabulary = next(iter(networks.values())).info.vocab_size
    canvas = Canvas.create(prompts, new, vocabulary, first_sample=first_sample)
    records = list(pipeline.steps(Context(sessions, seed), canvas))
    rows = zip(canvas.tokens_BN.tolist(), prompts, strict=True)
    return [row[len(prompt) :][:new] for row, prompt in rows], records, sessions


def greedily(table_VV, prompt, new):
    """What follows a prompt, token by token."""
    text = list(prompt)
    for _ in range(new):
        text.append(int(table_VV[text[-1]].argmax()))
    return text[len(prompt) :]
