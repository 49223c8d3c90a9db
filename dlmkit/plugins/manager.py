"""Discovery: load the installed plugins, keep what went wrong, never stop at a broken one."""

from __future__ import annotations

import functools
import logging
import os
from importlib import metadata
from typing import TYPE_CHECKING, Any

import attrs
import pluggy

from dlmkit.errors import PluginError
from dlmkit.plugins import hookspecs
from dlmkit.plugins.hookspecs import PROJECT
from dlmkit.plugins.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from importlib.resources.abc import Traversable

    import click

    from dlmkit.spec.check import Check

__all__ = [
    "ALLOW",
    "LoadedPlugin",
    "PluginFailure",
    "Plugins",
    "get_plugins",
    "load_plugins",
    "plugin_commands",
]

ALLOW = "DLMKIT_PLUGINS"
"""Environment variable: comma-separated plugins or distributions to load beside the built-ins."""

KINDS = ("components", "presets", "checks", "commands")
"""What plugins may offer."""


@attrs.frozen
class PluginFailure:
    """A plugin, or one thing it offers, that could not be used, and why."""

    plugin: str
    distribution: str
    error: str

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} of {self.distribution}: {self.error}"


@attrs.frozen
class LoadedPlugin:
    """A plugin that was imported: entry point, distribution, version, what it offers."""

    name: str
    distribution: str
    version: str
    components: int
    presets: int


@attrs.define
class Plugins:
    """Everything that plugins offer, or what they offer of some `kinds`."""

    manager: pluggy.PluginManager
    kinds: Sequence[str] = KINDS
    registry: Registry = attrs.field(factory=Registry)
    presets: dict[str, Traversable] = attrs.field(factory=dict)
    checks: list[Check] = attrs.field(factory=list)
    commands: dict[str, click.Command] = attrs.field(factory=dict)
    loaded: list[LoadedPlugin] = attrs.field(factory=list)
    failures: list[PluginFailure] = attrs.field(factory=list)

    def add(self, module: Any, name: str, distribution: str, version: str) -> None:
        """Register a plugin module and take in what it offers; failures are kept."""
        try:
            self.manager.register(module, name=f"{distribution}:{name}")
            self.manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            self._drop(module)
            self._fail(name, distribution, "; ".join(str(error).splitlines()))
            return
        taken = dict.fromkeys(KINDS, 0)
        for kind in self.kinds:
            taken[kind] = self._take_in(module, kind, name, distribution)
        self.loaded.append(
            LoadedPlugin(name, distribution, version, taken["components"], taken["presets"])
        )

    def _drop(self, module: Any) -> None:
        """Forget a plugin whose hooks are wrong; registration may have stopped half-way."""
        if self.manager.get_hookcallers(module) is not None:
            self.manager.unregister(module)

    def _take_in(self, module: Any, kind: str, name: str, distribution: str) -> int:
        implemented = getattr(self.manager.hook, f"dlmkit_{kind}").get_hookimpls()
        mine = [each.function for each in implemented if each.plugin is module]
        before = self._sizes()[kind]
        try:
            items = tuple(item for function in mine for item in function())
        except Exception as error:  # a plugin is foreign code: whatever it raises is reported
            self._fail(name, distribution, f"dlmkit_{kind} raised {type(error).__name__}: {error}")
            return 0
        for item in items:
            try:
                getattr(self, f"_add_{kind}")(item, distribution)
            except PluginError as error:
                self._fail(name, distribution, str(error))
        return self._sizes()[kind] - before

    def _sizes(self) -> Mapping[str, int]:
        components = sum(len(self.registry.offers(role)) for role in self.registry.roles())
        return {
            "components": components,
            "presets": len(self.presets),
            "checks": len(self.checks),
            "commands": len(self.commands),
        }

    def _add_components(self, cls: Any, distribution: str) -> None:
        self.registry.add(cls, distribution)

    def _add_presets(self, folder: Traversable, distribution: str) -> None:
        for file in sorted(folder.iterdir(), key=lambda each: each.name):
            if not file.name.endswith(".yaml"):
                continue
            name = file.name.removesuffix(".yaml")
            if name in self.presets:
                raise PluginError(f"{distribution} offers preset {name!r}, which is taken")
            self.presets[name] = file

    def _add_checks(self, check: Check, distribution: str) -> None:
        if any(check.id == known.id for known in self.checks):
            raise PluginError(f"{distribution} offers check {check.id!r}, which is taken")
        self.checks.append(check)

    def _add_commands(self, command: click.Command, distribution: str) -> None:
        if not command.name or command.name in self.commands:
            raise PluginError(f"{distribution} offers command {command.name!r}, which is taken")
        self.commands[command.name] = command

    def _fail(self, plugin: str, distribution: str, error: str) -> None:
        self.failures.append(PluginFailure(plugin, distribution, error))


def load_plugins(
    entry_points: Iterable[metadata.EntryPoint],
    allow: Iterable[str] | None = None,
    kinds: Sequence[str] = KINDS,
) -> Plugins:
    """Load plugins, the built-ins first; one that fails is kept in `failures`.

    Args:
        entry_points: entry points of the group `dlmkit`.
        allow: entry-point or distribution names to load beside the built-ins; None loads all.
        kinds: what is asked of them.
    """
    plugins = Plugins(pluggy.PluginManager(PROJECT), kinds)
    plugins.manager.add_hookspecs(hookspecs)
    allowed = None if allow is None else set(allow)
    found = sorted(entry_points, key=_load_order)
    for each in found:
        if allowed is None or _owner(each) == PROJECT or allowed & {each.name, _owner(each)}:
            _load(plugins, each)
    known = {each.name for each in found} | {_owner(each) for each in found}
    for name in sorted((allowed or set()) - known):
        plugins.failures.append(PluginFailure(name, name, f"named in {ALLOW} but not installed"))
    return plugins


def _load(plugins: Plugins, entry_point: metadata.EntryPoint) -> None:
    owner = _owner(entry_point)
    try:
        module = entry_point.load()
    except Exception as error:  # a broken plugin must not take the others down
        reason = f"{type(error).__name__}: {error}"
        plugins.failures.append(PluginFailure(entry_point.name, owner, reason))
        return
    version = entry_point.dist.version if entry_point.dist else "unknown"
    plugins.add(module, entry_point.name, owner, version)


def _load_order(entry_point: metadata.EntryPoint) -> tuple[bool, str, str]:
    owner = _owner(entry_point)
    return (owner != PROJECT, owner, entry_point.name)


def _owner(entry_point: metadata.EntryPoint) -> str:
    return entry_point.dist.name if entry_point.dist else entry_point.value


@functools.cache
def get_plugins() -> Plugins:
    """Return the installed plugins, loaded once per process; failures are logged as warnings.

    Raises:
        PluginError: when not even the built-ins are installed.
    """
    plugins = _installed(KINDS)
    for failure in plugins.failures:
        logging.getLogger(PROJECT).warning("warning: %s; see `dlmkit plugins`", failure)
    return plugins


@functools.cache
def plugin_commands() -> Mapping[str, click.Command]:
    """Return the commands that installed plugins add; nothing else is asked of them, it is quick.

    Raises:
        PluginError: when not even the built-ins are installed.
    """
    return _installed(("commands",)).commands


def _installed(kinds: Sequence[str]) -> Plugins:
    entry_points = metadata.entry_points(group=PROJECT)
    if not any(_owner(each) == PROJECT for each in entry_points):
        raise PluginError(
            "the built-in plugins of dlmkit are not installed",
            hint="run `pip install -e .` in the repository, or `pip install dlmkit`",
        )
    allow = os.environ.get(ALLOW)
    names = None if allow is None else [name.strip() for name in allow.split(",") if name.strip()]
    return load_plugins(entry_points, names, kinds)
