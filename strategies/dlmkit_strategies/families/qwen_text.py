"""What families with the vocabulary of Qwen2 share: splitting, added tokens, conventions."""

from __future__ import annotations

from pathlib import Path

import attrs

from dlmkit.models.family import FamilyDefaults

__all__ = ["QWEN2_DEFAULTS", "QWEN3_ADDED_TOKENS", "QWEN3_DEFAULTS", "QWEN_ADDED_TOKENS"]

QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    r"|[^\r\n\p{L}\p{N}]?\p{L}+"
    r"|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+"
    r"|\s+(?!\S)"
    r"|\s+"
)
"""Where Qwen2 cuts text before byte-level BPE; digits stand alone."""

QWEN_ADDED_TOKENS = {
    token: 151643 + index
    for index, token in enumerate(
        (
            "<|endoftext|>",
            "<|im_start|>",
            "<|im_end|>",
            "<|object_ref_start|>",
            "<|object_ref_end|>",
            "<|box_start|>",
            "<|box_end|>",
            "<|quad_start|>",
            "<|quad_end|>",
            "<|vision_start|>",
            "<|vision_end|>",
            "<|vision_pad|>",
            "<|image_pad|>",
            "<|video_pad|>",
            "<tool_call>",
            "</tool_call>",
            "<|fim_prefix|>",
            "<|fim_middle|>",
            "<|fim_suffix|>",
            "<|fim_pad|>",
            "<|repo_name|>",
            "<|file_sep|>",
        )
    )
}
"""Tokens that Qwen2.5 adds after the 151643 of its byte-level vocabulary."""

QWEN3_ADDED_TOKENS = {
    **QWEN_ADDED_TOKENS,
    "<tool_response>": 151665,
    "</tool_response>": 151666,
    "<think>": 151667,
    "</think>": 151668,
}
"""Tokens that Qwen3 adds after those."""

QWEN2_DEFAULTS = FamilyDefaults(
    logit_shift=1,
    eos_ids=(151643,),
    eot_ids=(151645,),
    eot_tokens=("<|im_end|>",),
    chat_template=Path(__file__).with_name("chatml.jinja"),
    bpe_pattern=QWEN_PATTERN,
    added_tokens=QWEN_ADDED_TOKENS,
)
"""Conventions of Qwen2.5; models made from it keep its logit shift, and state what they add."""

QWEN3_DEFAULTS = attrs.evolve(
    QWEN2_DEFAULTS,
    logit_shift=0,
    chat_template=Path(__file__).with_name("qwen3.jinja"),
    added_tokens=QWEN3_ADDED_TOKENS,
)
"""Conventions of models made from Qwen3, most of which predict each token in its own row."""
