"""Load a spec: from a preset's name, a file or text, with overrides, to a checked document."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from dlmkit.component import Component, options_of
from dlmkit.errors import RequestError
from dlmkit.plugins.manager import Plugins, get_plugins
from dlmkit.spec.build import FAILED, Builder, build
from dlmkit.spec.check import run_checks
from dlmkit.spec.documents import FORMAT, Document, default_models
from dlmkit.spec.overrides import apply_overrides
from dlmkit.spec.recipe import Recipe, join, recipe_of
from dlmkit.spec.report import Mark, Problem, Source, SpecError, nearest, one_of
from dlmkit.spec.source import MappingNode, Node, ScalarNode, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["check_document", "load_spec", "read_component", "read_source"]

SUFFIXES = (".yaml", ".yml")


def load_spec(
    source: str | Path,
    overrides: Sequence[str] = (),
    *,
    plugins: Plugins | None = None,
) -> Document:
    """Read and check a spec.

    Args:
        source: the name of a preset, the path of a file, or the text of a document (text has
            line breaks or starts with `dlmkit:`).
        overrides: `path=value` each, applied in order; the value is YAML.
        plugins: what may be named; by default what is installed.

    Returns:
        The document, with warnings in `warnings`.

    Raises:
        SpecError: with every problem found, in file order.
        RequestError: when there is no such preset or file.
    """
    known = plugins or get_plugins()
    text = read_source(source, known)
    node, problems = parse(text)
    body, override_problems = apply_overrides(_body(node), overrides)
    recipe, build_problems = build(body, Document, known)
    problems += [*override_problems, *build_problems]
    if recipe is None or problems:
        raise SpecError(problems)
    document: Document = recipe.component
    return attrs.evolve(document, warnings=_warnings(run_checks(recipe, known.checks)))


def read_component(text: str, base: type[Component], name: str) -> Any:
    """Read one component of a role, as a spec names it: `ntk`, or `{use: ntk, context: 1024}`.

    `name` is what errors call the text.

    Raises:
        SpecError: with every problem found.
    """
    node, problems = parse(Source(name, text))
    builder = Builder(get_plugins())
    made = builder.value(node, base, base.role, [])
    problems += builder.problems
    if made is FAILED or problems:
        raise SpecError(problems)
    return made


def check_document(document: Document, *, plugins: Plugins | None = None) -> Document:
    """Run every check on a document made in Python; warnings as in `load_spec`."""
    known = plugins or get_plugins()
    recipe = recipe_of(document)
    found = (*_option_problems(recipe), *run_checks(recipe, known.checks))
    return attrs.evolve(document, warnings=_warnings(found))


def _option_problems(root: Recipe) -> Iterator[Problem]:
    """What the components say about options that do not fit together."""
    for part in root.walk():
        if isinstance(part.component, Component):
            cls = type(part.component)
            options = {each.name: getattr(part.component, each.name) for each in options_of(cls)}
            for name, message, hint in cls.check_options(options):
                yield Problem(None, f"{join(part.path, name)}: {message}", hint)


def _warnings(found: Iterable[Problem]) -> tuple[Problem, ...]:
    problems = tuple(found)
    if any(problem.severity == "error" for problem in problems):
        raise SpecError(problems)
    return problems


def read_source(source: str | Path, plugins: Plugins) -> Source:
    """Return the text that a preset name, a path or the text itself stands for.

    Raises:
        RequestError: no preset has that name, or the file cannot be read.
    """
    if isinstance(source, str):
        if "\n" in source or source.startswith("dlmkit:"):
            return Source("<text>", source)
        if source in plugins.presets:
            return Source(f"{source}.yaml", plugins.presets[source].read_text(encoding="utf-8"))
        if not _looks_like_path(source):
            raise _no_such_preset(source, plugins)
    return _read_file(Path(source))


def _looks_like_path(text: str) -> bool:
    return text.endswith(SUFFIXES) or os.sep in text or "/" in text or Path(text).exists()


def _no_such_preset(name: str, plugins: Plugins) -> RequestError:
    guess = nearest(name, plugins.presets)
    hint = f"did you mean {guess!r}?" if guess else one_of(list(plugins.presets))
    more = "`dlmkit ls presets` lists them; a file needs its ending, .yaml"
    return RequestError(f"no preset is called {name!r}", hint=f"{hint}; {more}" if hint else more)


def _read_file(path: Path) -> Source:
    try:
        return Source(str(path), path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RequestError(f"there is no file {path}", hint="check the path") from None
    except UnicodeDecodeError as error:
        message = f"{path} is not UTF-8 text (byte {error.start})"
        raise RequestError(message, hint="a spec is YAML text; is this the right file?") from None
    except OSError as error:
        reason = error.strerror or error
        raise RequestError(f"cannot read {path}: {reason}", hint="check the path") from None


def _body(node: Node) -> MappingNode:
    """The document without its format, with the default models where it names none."""
    if not isinstance(node, MappingNode):
        message = f"a spec is a mapping that starts with `dlmkit: {FORMAT}`"
        raise SpecError([Problem(node.mark, message)])
    _check_format(node)
    entries = {key: entry for key, entry in node.entries.items() if key != "dlmkit"}
    if "models" not in entries:
        models: dict[str, tuple[Mark, Node]] = {
            name: (node.mark, ScalarNode(node.mark, ref.repo))
            for name, ref in default_models().items()
        }
        entries["models"] = (node.mark, MappingNode(node.mark, models))
    return MappingNode(node.mark, entries, node.size)


def _check_format(node: MappingNode) -> None:
    """Refuse another kind or version of document; nothing else in it could be trusted."""
    named = node.get("dlmkit")
    if named is None:
        message = f"the document needs `dlmkit: {FORMAT}`, its kind and version"
        raise SpecError([Problem(node.mark, message, f"put `dlmkit: {FORMAT}` on the first line")])
    found = named.value if isinstance(named, ScalarNode) else None
    if found == FORMAT:
        return
    kind, _, version = str(found).partition("/")
    if kind == "pipeline" and version.isdigit() and int(version) > 1:
        message = f"{found!r} needs a newer dlmkit; this one reads {FORMAT!r}"
        raise SpecError([Problem(named.mark, message, "upgrade with `pip install -U dlmkit`")])
    shown = repr(found) if isinstance(named, ScalarNode) else "that"
    message = f"dlmkit reads documents of the kind {FORMAT!r}, not {shown}"
    raise SpecError([Problem(named.mark, message, f"write `dlmkit: {FORMAT}`")])
