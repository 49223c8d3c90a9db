"""Dream's sampler for one row (arXiv:2508.15487), in plain Python, one position at a time."""

from __future__ import annotations

import math

import numpy as np

from tests.oracles.network_call import logits_of, softmax


def decode(network, prompt, gen_length, steps, algorithm, *, eps=1e-3):
    """Return the finished row and how many positions each step decided."""
    mask = network.info.mask_id
    tokens = [*prompt, *[mask] * gen_length]
    times = np.linspace(1, eps, steps + 1, dtype=np.float32)
    commits = []
    for step in range(steps):
        masked = [position for position, token in enumerate(tokens) if token == mask]
        share = np.float32(1) - times[step + 1] / times[step]
        count = len(masked) if step == steps - 1 else int(np.float32(len(masked)) * share)
        logits = logits_of(network, tokens)
        rated = []
        for position in masked:
            row = logits[position - 1]  # a row predicts the token after it
            probabilities = softmax(row)
            allowed = [each if i != mask else float("-inf") for i, each in enumerate(row)]
            best = allowed.index(max(allowed))
            rated.append((-_score(algorithm, probabilities, best), position, best))
        for _, position, best in sorted(rated)[:count]:
            tokens[position] = best
        commits.append(min(count, len(masked)))
    return tokens, commits


def _score(algorithm, probabilities, best):
    if algorithm == "maskgit_plus":
        return probabilities[best]
    if algorithm == "topk_margin":
        first, second = sorted(probabilities, reverse=True)[:2]
        return first - second
    return sum(each * math.log(each) for each in probabilities if each > 0)
