"""Plugins: what they may offer, how they are found, and what they offered."""

from __future__ import annotations

from dlmkit.plugins.hookspecs import hookimpl
from dlmkit.plugins.manager import Plugins, get_plugins, load_plugins, plugin_commands
from dlmkit.plugins.registry import Registry, component_problems

__all__ = [
    "Plugins",
    "Registry",
    "component_problems",
    "get_plugins",
    "hookimpl",
    "load_plugins",
    "plugin_commands",
]
