"""Info-Gain sampling for one row (arXiv:2602.18176), in plain Python, one choice at a time."""

from __future__ import annotations

import math

from tests.oracles.network_call import logits_of, softmax


def decode(network, prompt, gen_length, block_length, branches, noise, sure, gumbel):
    """Return the finished row and the number of passes, each of several choices.

    `gumbel(branch, step, position)` is the noise of a position for a choice after the first.
    """
    mask = network.info.mask_id
    tokens = [*prompt, *[mask] * gen_length]
    known, passes = None, 0
    while mask in tokens:
        first = tokens.index(mask)
        left = first - (first - len(prompt)) % block_length
        block = [p for p in range(left, left + block_length) if tokens[p] == mask]
        choices = [[]]
        if known:
            best, share = _proposals(known, mask)
            orders = [[share[p] for p in block]]
            orders += [
                [share[p] / noise + gumbel(branch, passes, p) for p in block]
                for branch in range(1, branches)
            ]
            choices = [[block[order.index(max(order))]] for order in orders]
            if all(share[p] >= sure for p in block):
                choices = [block] * branches
        tried = []
        for choice in choices:
            canvas = [best[p] if p in choice else token for p, token in enumerate(tokens)]
            rows = logits_of(network, canvas)
            open_ = [p for p in range(len(canvas)) if canvas[p] == mask]
            after = sum(_entropy(rows[p]) for p in open_) / max(len(open_), 1)
            now = sum(_entropy(known[p]) for p in choice)
            tried.append((-after - now, canvas, rows))
        value = max(value for value, _, _ in tried)
        _, tokens, known = next(each for each in tried if each[0] > value - 1e-6)
        passes += 1
        best, share = _proposals(known, mask)
        open_ = [p for p in range(len(tokens)) if tokens[p] == mask]
        here = [p for p in open_ if p in block]
        if here == open_ and (len(here) == 1 or all(share[p] >= sure for p in here)):
            tokens = [best[p] if p in here else token for p, token in enumerate(tokens)]
    return tokens, passes


def _proposals(rows, mask):
    """The best token of each position that is not the mask, and its probability."""
    allowed = [[-math.inf if i == mask else x for i, x in enumerate(row)] for row in rows]
    best = [row.index(max(row)) for row in allowed]
    return best, [softmax(row)[token] for row, token in zip(rows, best, strict=True)]


def _entropy(row):
    return -sum(p * math.log(p) for p in softmax(row) if p > 0)
