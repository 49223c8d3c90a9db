"""`dlmkit export`, `bundle` and `parity`, as a user types them."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner

from dlmkit.cli.main import main
from dlmkit_export.bundle.changes import as_in_spec, rope_text
from tests.export.changed import ROPE, changed, prompts
from tests.export.compiled import bundle, source


def run(*arguments):
    return CliRunner().invoke(main, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle written by the command itself."""
    folder = tmp_path_factory.mktemp("made") / "bundle"
    found = run("export", "-m", source("tiny"), "-o", folder, "--buckets", "fed=32,64")
    assert 0 == found.exit_code, found.output
    assert f"wrote {folder}" in found.stderr
    assert "dlmkit generate --engine onnxruntime" in found.stderr
    return folder


def test_an_exported_bundle_decodes(made):
    """The command that `export` suggests."""
    found = run(
        *("generate", "--engine", "onnxruntime", "--model", made, "--device", "cpu"),
        *("--set", "gen_length=32", "--json", "2 4 6"),
    )
    assert 0 == found.exit_code, found.output
    assert "llada" == json.loads(found.stdout)["pipeline"]


def test_inspect_says_what_a_bundle_is(made):
    """Also before it was ever compared."""
    text = run("bundle", "inspect", made).stdout
    for part in ("family llada", "float32", "score pack of 8", "32, 64", "never compared"):
        assert part in text
    assert [32, 64] == json.loads(run("bundle", "inspect", made, "--json").stdout)["buckets"]["fed"]


def test_inspect_says_how_a_network_was_changed():
    """In the words of a spec."""
    text = run("bundle", "inspect", changed()).stdout
    for part in ("without layer 0, with the prompt tokens of", "{use: ntk, context: 256"):
        assert part in text


def test_the_options_of_a_spec_make_the_same_bundle(tmp_path):
    """As in Python, byte for byte."""
    options = (
        "--skip-layers",
        "0",
        "--prompt-tokens",
        prompts(),
        "--rope",
        rope_text(as_in_spec(ROPE)),
    )
    found = run("export", "-m", source("tiny"), "-o", tmp_path / "again", *options)
    assert 0 == found.exit_code, found.output
    for path in changed().iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_parity_is_shown_by_inspect(tmp_path):
    """And called out of date when the bundle has changed."""
    folder = shutil.copytree(bundle("tiny"), tmp_path / "copy")
    (tmp_path / "prompts").write_text("2 4 6\n1 2 3\n")
    small = ("--set", "gen_length=8", "--set", "pipeline.blocks.length=8")
    found = run("parity", folder, "-m", source("tiny"), "-f", tmp_path / "prompts", *small)
    assert 0 == found.exit_code, found.output
    assert "parity: identical" in found.stdout
    assert "2 of 2 the same" in run("bundle", "inspect", folder).stdout
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace("llada", "dream"))
    assert "out of date" in run("bundle", "inspect", folder).stdout


def test_verify_passes_what_is_whole_and_names_what_is_not(tmp_path):
    """Exit code 2 for a bundle that must not be used."""
    folder = shutil.copytree(bundle("tiny"), tmp_path / "copy")
    found = run("bundle", "verify", folder)
    assert 0 == found.exit_code
    assert "are as they were written" in found.stdout
    (folder / "weights.bin").write_bytes(b"short")
    found = run("bundle", "verify", folder)
    assert 2 == found.exit_code
    assert "truncated" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("export", "-m", "no-such-model", "-o", "{tmp}/x"), "there is no model"),
        (("export", "-m", "builtin/verifier", "-o", "{tmp}"), "exists already"),
        (("export", "-m", "builtin/verifier", "-o", "{tmp}/x", "--buckets", "q=1"), "not a list"),
        (("export", "-m", "builtin/guide", "-o", "{tmp}/x", "--skip-layers", "1,1"), "each once"),
        (("export", "-m", "builtin/guide", "-o", "{tmp}/x", "--skip-layers", "1,"), "each once"),
        (("export", "-m", "builtin/guide", "-o", "{tmp}/x", "--skip-layers", "4"), "names layer 4"),
        (("export", "-m", "builtin/guide", "-o", "{tmp}/x", "--prompt-tokens", "x"), "no prompt"),
        (("bundle", "inspect", "{tmp}"), "is not a bundle"),
        (("bundle", "verify", "{tmp}/nowhere"), "is not a bundle"),
        (("parity", "{tmp}"), "is not a bundle"),
        (("generate", "--engine", "onnxruntime", "-m", "{tmp}", "hi"), "is not a bundle"),
    ],
)
def test_bad_requests_are_one_sentence_and_exit_code_2(tmp_path, arguments, words):
    """With the next step, and no stack trace."""
    (tmp_path / "file").write_text("")
    found = run(*(each.format(tmp=tmp_path) for each in arguments))
    assert 2 == found.exit_code, found.output
    assert words in found.stderr
    assert "hint:" in found.stderr
    assert "Traceback" not in found.output


def test_a_rope_that_is_none_is_pointed_at(tmp_path):
    """As in a spec."""
    rope = ("--rope", "{use: ntk, contxt: 256}")
    found = run("export", "-m", source("tiny"), "-o", tmp_path / "made", *rope)
    assert 2 == found.exit_code
    assert "--rope:1:12: rope (ntk) has no option 'contxt'" in found.stderr
    assert "did you mean 'context'?" in found.stderr
