"""Write the reference pages that follow from the code: one for each role, and the presets.

Run `python docs/generate_reference.py` after changing a component or a preset; a test fails while
the committed pages differ from what this writes.
"""

from __future__ import annotations

import types
import typing
from pathlib import Path

from dlmkit.component import Component, Option, options_of, union_members
from dlmkit.plugins import get_plugins
from dlmkit.plugins.registry import role_base
from dlmkit.spec import load_spec

HERE = Path(__file__).parent
PACKAGE = "dlmkit"
NOTE = "<!-- Written by docs/generate_reference.py; do not edit. -->\n\n"


def pages() -> dict[Path, str]:
    """Every generated page by its path below docs/."""
    registry = get_plugins().registry
    written = {
        Path("reference/components") / f"{role}.md": _role_page(role, classes)
        for role in registry.roles()
        if (classes := [o.cls for o in registry.offers(role) if o.distribution == PACKAGE])
    }
    written[Path("reference/presets.md")] = _presets_page()
    return written


def _role_page(role: str, classes: list[type[Component]]) -> str:
    base = role_base(classes[0])
    parts = [NOTE, f"# {role}\n\n", f"{_clean(base.__doc__)}\n\n"]
    parts.append(f"Base class: `{base.__module__}.{base.__name__}`.\n")
    parts += [_component_section(cls) for cls in classes]
    return "".join(parts)


def _component_section(cls: type[Component]) -> str:
    text = f"\n## {cls.name}\n\n{_clean(cls.__doc__)}\n\nClass: `{cls.__module__}.{cls.__name__}`"
    text += f", version {cls.version}.\n"
    options = options_of(cls)
    if not options:
        return text + "\nNo options.\n"
    rows = "".join(_option_row(each) for each in options)
    return text + "\n| Option | Type | Default | Meaning |\n|---|---|---|---|\n" + rows


def _option_row(option: Option) -> str:
    default = "required" if option.required else f"`{_value(option.default)}`"
    doc = option.doc.replace("|", "\\|")
    if option.examples:
        doc += "; for example " + ", ".join(f"`{_value(each)}`" for each in option.examples)
    return f"| `{option.key}` | {_type(option.type)} | {default} | {doc} |\n"


def _type(hint: object) -> str:
    members = [each for each in union_members(hint) if each is not types.NoneType]
    return " or ".join(_member(each) for each in members)


def _member(hint: typing.Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return ", ".join(f"`{each}`" for each in arguments)
    if origin in (tuple, list):
        inner = [each for each in arguments if each is not Ellipsis]
        return f"list of {_type(inner[0])}"
    if isinstance(hint, type) and issubclass(hint, Component):
        return f"[{hint.role}]({hint.role}.md)" if hint.role in _roles() else hint.role
    return hint.__name__ if isinstance(hint, type) else str(hint)


def _roles() -> tuple[str, ...]:
    return get_plugins().registry.roles()


def _value(value: object) -> str:
    if value is None:
        return "absent"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_value(each) for each in value)}]"
    return str(value)


def _clean(doc: str | None) -> str:
    lines = (doc or "").strip().splitlines()
    return "\n".join(line.strip() for line in lines)


def _presets_page() -> str:
    parts = [NOTE, "# Presets\n\n"]
    parts.append(
        "A preset is a spec that ships with a package. Its name is accepted wherever a spec file "
        "is; `dlmkit show NAME` prints it, and `--set path=value` changes it.\n"
    )
    for name, file in sorted(get_plugins().presets.items()):
        document = load_spec(name)
        parts.append(f"\n## {name}\n\n{document.description}\n\n")
        parts.append(f"```yaml\n{file.read_text(encoding='utf-8').rstrip()}\n```\n")
    return "".join(parts)


def main() -> None:
    """Write every page; remove role pages that are no longer generated."""
    wanted = pages()
    for old in (HERE / "reference/components").glob("*.md"):
        if old.relative_to(HERE) not in wanted:
            old.unlink()
    for path, text in wanted.items():
        (HERE / path).parent.mkdir(parents=True, exist_ok=True)
        (HERE / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
