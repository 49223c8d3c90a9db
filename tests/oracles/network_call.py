"""A network as a plain function: token ids in, a list of logits for each position out."""

from __future__ import annotations

import torch

from dlmkit.need import Need
from dlmkit.network import NetworkInputs


def logits_of(network, tokens):
    """Logits of one row, a list of V numbers for each position; no shift is applied."""
    count = len(tokens)
    positions = torch.arange(count)[None]
    inputs = NetworkInputs(ids_BQ=torch.tensor([tokens]), positions_BQ=positions, want_BS=positions)
    return network.forward(inputs, Need(logits=True)).logits_BSV[0].double().tolist()


def softmax(logits):
    """Probabilities of one position."""
    top = max(logits)
    weights = [2.718281828459045 ** (each - top) for each in logits]
    return [weight / sum(weights) for weight in weights]
