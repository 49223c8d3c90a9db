"""ETE-style decoding with branches for one row, in plain Python, one canvas at a time."""

from __future__ import annotations

import math

from tests.oracles.network_call import logits_of, softmax


def decode(network, prompt, gen_length, length, count, rule, branches, weight):
    """Return the finished row, and for each pass the number of canvases that it runs."""
    info = network.info
    mask, tokens = info.mask_id, [*prompt, *[info.mask_id] * gen_length]
    candidates, widths = [(0.0, tokens)], []
    while mask in tokens:
        first = tokens.index(mask)
        start = first - (first - len(prompt)) % length
        span = range(start, min(start + length * count, len(tokens)))
        tried = []
        for logp, canvas in candidates:
            guesses = _guesses(logits_of(network, canvas), mask)
            open_ = [p for p in span if canvas[p] == mask]
            sure = [p for p in open_ if guesses[p][1] >= rule.threshold]
            tried.append((logp + weight * len(sure), canvas, guesses, open_, sure))
        widths.append(len(tried))
        most = max(value for value, *_ in tried)
        _, tokens, guesses, open_, sure = next(each for each in tried if each[0] > most - 1e-9)
        pivots = []
        if len(sure) < rule.enough:
            pivots = [
                p
                for p in open_
                if p not in sure
                and p - start < rule.reach
                and guesses[p][1] >= rule.floor
                and guesses[p][0] not in info.eos_ids
            ]
            pivots.sort(key=lambda p: -guesses[p][2])
            pivots = pivots[:branches] or [max(open_, key=lambda p: guesses[p][1])]
        tokens = _with(tokens, sure, guesses)
        if len(pivots) > 1:
            candidates = [(math.log(guesses[p][1]), _with(tokens, [p], guesses)) for p in pivots]
        else:
            tokens = _with(tokens, pivots, guesses)
            candidates = [(0.0, tokens)]
    return tokens, widths


def _guesses(rows, mask):
    """For each position the best token that is not the mask, its probability, and the entropy."""
    found = []
    for row in rows:
        share = softmax(row)
        best = max((i for i in range(len(row)) if i != mask), key=lambda i: (row[i], -i))
        entropy = -sum(p * math.log(p) for p in share if p > 0)
        found.append((best, share[best], entropy))
    return found


def _with(tokens, where, guesses):
    return [guesses[p][0] if p in where else token for p, token in enumerate(tokens)]
