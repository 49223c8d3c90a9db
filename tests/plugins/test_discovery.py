"""Discovery: installed plugins are loaded, and a broken one takes nothing down."""

from __future__ import annotations

import logging
import sys
import textwrap
from importlib import metadata
from pathlib import Path

import pytest

from dlmkit.errors import PluginError
from dlmkit.plugins import get_plugins, load_plugins
from dlmkit.plugins.manager import ALLOW

STOP = """
    import attrs
    from dlmkit.plugins import hookimpl
    from dlmkit.roles import StopRule

    @attrs.frozen
    class {cls}(StopRule):
        '''Stop nothing.'''
        name = "{name}"
        def stop(self, view): ...

    @hookimpl
    def dlmkit_components():
        return [{cls}]
"""


HOOK = "from dlmkit.plugins import hookimpl\n@hookimpl\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install a one-module distribution into a folder on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def install_module(distribution: str, source: str, version: str = "1.0") -> None:
        module = distribution.replace("-", "_") + "_plugin"
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source), encoding="utf-8")
        info = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Name: {distribution}\nVersion: {version}\n", encoding="utf-8"
        )
        (info / "entry_points.txt").write_text(f"[dlmkit]\nmain = {module}\n", encoding="utf-8")
        made.append(module)

    yield install_module
    for module in made:
        sys.modules.pop(module, None)


def found(allow=None):
    """What is loaded now."""
    return load_plugins(metadata.entry_points(group="dlmkit"), allow)


def names(plugins) -> list[str]:
    """Distributions of the loaded plugins."""
    return [each.distribution for each in plugins.loaded]


def test_the_built_ins_come_through_entry_points() -> None:
    """They have no other door than third parties have."""
    assert {"core", "strategies"} <= {each.name for each in found().loaded}


def test_an_installed_plugin_offers_its_components(install) -> None:
    """One function in one module is a plugin."""
    install("dlmkit-calm", STOP.format(cls="Calm", name="calm"), version="2.5")
    plugins = found()
    assert "calm" in plugins.registry.of_role("stop")
    calm = next(each for each in plugins.loaded if each.distribution == "dlmkit-calm")
    assert ("main", "2.5", 1, 0) == (calm.name, calm.version, calm.components, calm.presets)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise ImportError('no such library')", "ImportError: no such library"),
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named"),
        ("def broken(:", "SyntaxError"),
        (
            HOOK + "def dlmkit_components():\n    1 / 0\n",
            "dlmkit_components raised ZeroDivisionError: division by zero",
        ),
        (
            HOOK + "def dlmkit_components():\n    return [int]",
            "is not a subclass of dlmkit.component.Component",
        ),
        (
            HOOK + "def dlmkit_componentz():\n    return []",
            "unknown hook 'dlmkit_componentz'",
        ),
        (
            HOOK + "def dlmkit_components(x):\n    return []",
            "Plugin 'dlmkit-bad:main'",
        ),
    ],
)
def test_a_broken_plugin_is_kept_apart_with_its_reason(source: str, reason: str, install) -> None:
    """The others load; the failure says whose it is."""
    install("dlmkit-bad", source)
    install("dlmkit-calm", STOP.format(cls="Calm", name="calm"))
    plugins = found()
    (failure,) = plugins.failures
    assert ("main", "dlmkit-bad") == (failure.plugin, failure.distribution)
    assert reason in str(failure)
    assert "calm" in plugins.registry.of_role("stop")
    assert "union" in plugins.registry.of_role("transfer")


def test_one_bad_component_does_not_hide_the_others_of_its_plugin(install) -> None:
    """Only what breaks the rules is left out."""
    install("dlmkit-calm", STOP.format(cls="Calm", name="calm").replace("[Calm]", "[int, Calm]"))
    plugins = found()
    assert 1 == len(plugins.failures)
    assert "calm" in plugins.registry.of_role("stop")


@pytest.mark.parametrize("allow", ["dlmkit-calm", "main"])
def test_the_allow_list_names_distributions_or_entry_points(allow: str, install) -> None:
    """What it names is loaded beside the built-ins."""
    install("dlmkit-calm", STOP.format(cls="Calm", name="calm"))
    assert "dlmkit-calm" in names(found([allow]))


def test_an_empty_allow_list_leaves_the_built_ins(install) -> None:
    """Nothing of third parties is imported."""
    install("dlmkit-calm", "raise RuntimeError('must not be imported')")
    plugins = found([])
    assert {"dlmkit"} == set(names(plugins))
    assert [] == plugins.failures


def test_an_allowed_plugin_that_is_missing_is_reported() -> None:
    """A typing error in the variable does not pass in silence."""
    (failure,) = found(["dlmkit-clam"]).failures
    assert f"named in {ALLOW} but not installed" == failure.error


def test_the_variable_is_read_and_failures_are_logged_once(install, monkeypatch, caplog) -> None:
    """`DLMKIT_PLUGINS` restricts; a failure is a warning on the first use only."""
    install("dlmkit-bad", "raise ImportError('gone')")
    get_plugins.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, logger="dlmkit"):
            get_plugins()
            get_plugins()
        assert [
            "warning: plugin 'main' of dlmkit-bad: ImportError: gone; see `dlmkit plugins`"
        ] == caplog.messages
        get_plugins.cache_clear()
        monkeypatch.setenv(ALLOW, "")
        assert [] == get_plugins().failures
    finally:
        get_plugins.cache_clear()


def test_a_preset_name_is_taken_once(install, tmp_path: Path) -> None:
    """A plugin cannot replace a preset of another."""
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "llada.yaml").write_text("x", encoding="utf-8")
    (tmp_path / "specs" / "calm.yaml").write_text("x", encoding="utf-8")
    install(
        "dlmkit-calm",
        f"""
        from pathlib import Path
        from dlmkit.plugins import hookimpl

        @hookimpl
        def dlmkit_presets():
            return [Path({str(tmp_path / "specs")!r})]
        """,
    )
    plugins = found()
    assert ["dlmkit-calm offers preset 'llada', which is taken"] == [
        f.error for f in plugins.failures
    ]
    assert "calm" in plugins.presets


def test_checks_and_commands_are_taken_in(install) -> None:
    """A second check of the same id is refused."""
    install(
        "dlmkit-calm",
        """
        import click
        from dlmkit.plugins import hookimpl
        from dlmkit.spec import Check

        def find(root):
            '''Nothing.'''
            return iter(())

        @hookimpl
        def dlmkit_checks():
            return [Check("calm", "warning", find), Check("C2", "error", find)]

        @hookimpl
        def dlmkit_commands():
            return [click.Command("calm-down")]
        """,
    )
    plugins = found()
    assert "calm" in [check.id for check in plugins.checks]
    assert ["dlmkit-calm offers check 'C2', which is taken"] == [f.error for f in plugins.failures]
    assert "calm-down" in plugins.commands


def test_without_the_built_ins_the_error_says_how_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A source folder on the path is not an installation."""
    monkeypatch.setattr(metadata, "entry_points", lambda group: ())
    get_plugins.cache_clear()
    with pytest.raises(PluginError, match="pip install"):
        get_plugins()
    get_plugins.cache_clear()
