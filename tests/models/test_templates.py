"""The chat templates that families bring along."""

from __future__ import annotations

import pytest

from dlmkit.models.chat import ChatTemplate
from dlmkit_strategies.families import FAMILIES, Llada2, Sdar

TURN = [{"role": "user", "content": "Hi"}]


def rendered(family, messages, **switches):
    template = ChatTemplate(family.defaults.chat_template.read_text("utf-8"), "test", switches)
    return template.render(messages)


def test_llada2_opens_with_thinking_off():
    """As the authors' own engine does; a system message replaces it."""
    start = "<role>SYSTEM</role>detailed thinking off<|role_end|>"
    turn = "<role>HUMAN</role>Hi<|role_end|><role>ASSISTANT</role>"
    assert start + turn == rendered(Llada2, TURN)
    system = [{"role": "system", "content": "Be brief."}, *TURN]
    assert "<role>SYSTEM</role>Be brief.<|role_end|>" + turn == rendered(Llada2, system)


def test_qwen3_has_no_default_system_message():
    """And a switch that closes the thinking part at once."""
    turn = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert turn == rendered(Sdar, TURN)
    assert turn + "<think>\n\n</think>\n\n" == rendered(Sdar, TURN, enable_thinking=False)


@pytest.mark.parametrize(
    "family",
    [each for each in FAMILIES if each.defaults.chat_template],
    ids=lambda family: family.name,
)
def test_every_template_renders_a_dialogue(family):
    """Three turns, each message in its place."""
    dialogue = [*TURN, {"role": "assistant", "content": "Ho"}, {"role": "user", "content": "Hu"}]
    text = rendered(family, dialogue)
    assert text.index("Hi") < text.index("Ho") < text.index("Hu")
