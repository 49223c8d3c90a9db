"""A decode of one row with any choosing and leaving rule, in plain Python, position by position."""

from __future__ import annotations

from tests.oracles.network_call import logits_of, softmax


def decode(network, prompt, gen_length, block_length, choose, leave=lambda gaps, progress: False):
    """Return the finished row and the number of passes.

    `choose(share, progress)` gets the probability of the proposal at each open position of the
    block, in order, and returns the positions to decide; `leave(gaps, progress)` gets the
    difference of the two largest logits at every position after the prompt, and says whether the
    row is filled at once.  `progress` is the share that was decided before.
    """
    mask, start = network.info.mask_id, len(prompt)
    tokens, passes = [*prompt, *[mask] * gen_length], 0
    while mask in tokens:
        logits = logits_of(network, tokens)
        passes += 1
        progress = 1 - tokens.count(mask) / gen_length
        best, share, gaps = {}, {}, {}
        for position in range(start, len(tokens)):
            row = logits[position]
            allowed = [float("-inf") if i == mask else each for i, each in enumerate(row)]
            best[position] = allowed.index(max(allowed))
            share[position] = softmax(row)[best[position]]
            first, second = sorted(row, reverse=True)[:2]
            gaps[position] = first - second
        open_ = [position for position in best if tokens[position] == mask]
        block = (open_[0] - start) // block_length
        here = [each for each in open_ if (each - start) // block_length == block]
        chosen = choose({position: share[position] for position in here}, progress)
        for position in open_ if leave(gaps, progress) else chosen:
            tokens[position] = best[position]
    return tokens, passes


def surest(share, count):
    """The positions of the `count` largest probabilities, ties to the first."""
    return sorted(share, key=lambda position: (-share[position], position))[:count]
