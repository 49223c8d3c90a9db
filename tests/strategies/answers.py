"""What a preset answers to problems, and in how many passes."""

from __future__ import annotations

from dlmkit import generate


def answers(preset, examples, *changes):
    """Texts of at most 24 tokens, and the passes that all of them together took part in."""
    prompts = [each.prompt for each in examples]
    results = generate(prompts, preset, overrides=["gen_length=24", *changes], mode="chat")
    return [each.text for each in results], sum(each.nfe["main"] for each in results)
