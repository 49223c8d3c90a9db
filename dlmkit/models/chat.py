"""Chat templates: messages in, the text that a model was trained to continue out.

Templates are Jinja, usually shipped with the checkpoint, and therefore foreign: they run in a
sandbox without access to attributes, files or imports.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import attrs
from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from dlmkit.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ChatTemplate", "find_template"]

_FILE = "chat_template.jinja"


@attrs.frozen(slots=False)
class ChatTemplate:
    """A chat template, where it comes from, and the special tokens it may refer to by role.

    `tokens` maps `bos_token`, `eos_token` and so on to their text.
    """

    source: str
    origin: str
    tokens: Mapping[str, str] = attrs.field(factory=dict)

    def render(
        self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = True
    ) -> str:
        """Return the text of a dialogue, ending where the model's answer begins.

        Args:
            messages: mappings with the keys `role` and `content`.
            add_generation_prompt: whether to open an answer at the end.

        Raises:
            ModelError: the template is broken, or refuses these messages.
        """
        try:
            return self._compiled.render(
                messages=list(messages), add_generation_prompt=add_generation_prompt, **self.tokens
            )
        except Exception as error:  # a template is foreign code: it may raise anything
            raise ModelError(
                f"the chat template ({self.origin}) failed: {error}",
                hint="check the order of roles; or give a prompt without chat template",
            ) from error

    def save(self, folder: Path) -> None:
        """Write the template beside a tokenizer; its tokens belong into the tokenizer's config."""
        (folder / _FILE).write_text(self.source, "utf-8")

    @cached_property
    def _compiled(self) -> Template:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        return environment.from_string(self.source)


def find_template(
    folder: Path, tokenizer_config: Mapping[str, Any], packaged: Path | None
) -> ChatTemplate | None:
    """Return the checkpoint's own template, else the family's packaged one, else None."""
    tokens = {
        key: text
        for key, value in tokenizer_config.items()
        if key.endswith("_token") and (text := token_text(value)) is not None
    }
    stated = tokenizer_config.get("chat_template")
    if isinstance(stated, list):
        stated = {each.get("name"): each.get("template") for each in stated}.get("default")
    if (folder / _FILE).is_file():
        return ChatTemplate(
            (folder / _FILE).read_text("utf-8"), f"the checkpoint's {_FILE}", tokens
        )
    if isinstance(stated, str):
        return ChatTemplate(stated, "the checkpoint's tokenizer_config.json", tokens)
    if packaged is not None:
        return ChatTemplate(packaged.read_text("utf-8"), f"family default {packaged.name}", tokens)
    return None


def token_text(value: Any) -> str | None:
    """Return the text of a special token, which files give plainly or as an object."""
    text = value.get("content") if isinstance(value, Mapping) else value
    return text if isinstance(text, str) else None


def _to_json(value: Any, indent: int | None = None) -> str:
    """Write JSON as text for a prompt: no HTML escapes, letters as they are."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)
