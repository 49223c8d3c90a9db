"""Chat templates: the checkpoint's own first, rendered in a sandbox, encoded without additions."""

from __future__ import annotations

import pytest

from dlmkit.errors import ModelError
from dlmkit.models.chat import ChatTemplate, find_template
from dlmkit_strategies.families import Dream, Llada

TURN = [{"role": "user", "content": "Hi "}]


def packaged(family):
    return find_template_text(family.defaults.chat_template)


def find_template_text(path):
    return ChatTemplate(path.read_text(), path.name)


def test_llada_template():
    """The published text: start token once, content stripped, a blank line before content."""
    assert (
        "<|startoftext|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ) == packaged(Llada).render(TURN)


def test_dream_template_adds_the_default_system_sentence():
    """ChatML with the system sentence of the Qwen2.5 base model."""
    assert (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\nHi <|im_end|>\n<|im_start|>assistant\n"
    ) == packaged(Dream).render(TURN)


def test_a_given_system_message_replaces_the_default():
    """It appears once."""
    text = packaged(Dream).render([{"role": "system", "content": "Be brief."}, *TURN])
    assert text.count("system") == 1
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user")


@pytest.mark.parametrize("family", [Dream, Llada], ids=lambda family: family.name)
def test_several_turns_close_and_reopen(family):
    """The generation prompt appears at the end only, and only when asked for."""
    turns = [*TURN, {"role": "assistant", "content": "Hello"}, *TURN]
    with_prompt = packaged(family).render(turns)
    without = packaged(family).render(turns, add_generation_prompt=False)
    assert with_prompt.startswith(without)
    assert "assistant" in with_prompt.removeprefix(without)


def test_the_checkpoints_template_wins(tmp_path):
    """A file beside the weights, then the tokenizer config, then the family."""
    default = Llada.defaults.chat_template
    config = {"chat_template": "from config"}
    assert "from config" == find_template(tmp_path, config, default).render(TURN)
    (tmp_path / "chat_template.jinja").write_text("from file")
    assert "from file" == find_template(tmp_path, config, default).render(TURN)
    assert find_template(tmp_path / "none", {}, None) is None


def test_the_default_of_named_templates_is_taken(tmp_path):
    """Some checkpoints list several templates."""
    named = [{"name": "tools", "template": "t"}, {"name": "default", "template": "d"}]
    assert "d" == find_template(tmp_path, {"chat_template": named}, None).render(TURN)


def test_special_tokens_are_known_by_role(tmp_path):
    """Given plainly or as an object."""
    config = {
        "bos_token": {"content": "<s>"},
        "eos_token": "</s>",
        "chat_template": "{{ bos_token }}|{{ eos_token }}",
    }
    assert "<s>|</s>" == find_template(tmp_path, config, None).render(TURN)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{% include '/etc/passwd' %}",
        "{% if %}",
        "{{ raise_exception('roles must alternate') }}",
    ],
)
def test_templates_cannot_reach_out_and_fail_clearly(source):
    """A foreign template cannot touch Python, change messages, read files or crash."""
    with pytest.raises(ModelError, match=r"the chat template \(here\) failed"):
        ChatTemplate(source, "here").render(TURN)
