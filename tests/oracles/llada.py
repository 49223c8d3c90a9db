"""LLaDA's sampler for one row (arXiv:2502.09992), in plain Python, one position at a time."""

from __future__ import annotations

from tests.oracles.network_call import logits_of, softmax


def decode(
    network,
    prompt,
    gen_length,
    block_length,
    steps_per_block,
    *,
    cfg_scale=0.0,
    temperature=0.0,
    gumbel=None,
):
    """Return the finished row and the number of forward passes.

    `gumbel(step, position)` gives one number for each token; it is scaled by the temperature.
    Masks inside the prompt are filled too.
    """
    mask = network.info.mask_id
    tokens = [*prompt, *[mask] * gen_length]
    given = [token != mask for token in tokens]
    start, passes = given.index(False), 0
    for left in range(start, len(tokens), block_length):
        block = range(left, min(left + block_length, len(tokens)))
        masks = sum(tokens[position] == mask for position in block)
        for step in range(steps_per_block):
            quota = masks // steps_per_block + (step < masks % steps_per_block)
            if not quota:
                continue
            logits = _logits(network, tokens, given, cfg_scale)
            rated = []
            for position in block:
                if tokens[position] != mask:
                    continue
                noise = gumbel(passes, position) if gumbel else [0.0] * len(logits[position])
                scores = [
                    each + temperature * extra
                    for each, extra in zip(logits[position], noise, strict=True)
                ]
                scores[mask] = float("-inf")
                best = scores.index(max(scores))
                rated.append((-softmax(logits[position])[best], position, best))
            passes += 1
            for _, position, best in sorted(rated)[:quota]:
                tokens[position] = best
    return tokens, passes


def _logits(network, tokens, given, cfg_scale):
    """Logits row by row; with guidance, extrapolated from those without the given text."""
    shift, with_text = network.info.logit_shift, logits_of(network, tokens)
    if cfg_scale:
        mask = network.info.mask_id
        hidden = [mask if known else token for token, known in zip(tokens, given, strict=True)]
        without = logits_of(network, hidden)
        with_text = [
            [u + (cfg_scale + 1) * (c - u) for c, u in zip(one, other, strict=True)]
            for one, other in zip(with_text, without, strict=True)
        ]
    return [with_text[max(position - shift, 0)] for position in range(len(tokens))]
