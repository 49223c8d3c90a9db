"""Causal verifiers compute what is new of the text, and decide the same."""

from __future__ import annotations

import pytest

from dlmkit import Runner, load_spec

PROMPT = "Tom has 3 apples and buys 2 more."
CHAINS = ["apd-code", "diffuspec", "guided-diffusion", "jacobi", "speculative-sampling"]
TREES = ["jacobi-forcing", "token-recycling"]


def decoded(name, *changes):
    """The tokens, the account, and the length of the prompt."""
    runner = Runner.load(load_spec(name, ["gen_length=16", *changes]))
    ids = runner.encode([PROMPT])
    decode = runner.start(ids)
    for _ in decode:
        pass
    (result,) = decode.results()
    return result.token_ids, result.ledger, len(ids[0])


@pytest.mark.parametrize("name", [*CHAINS, *TREES])
def test_a_cached_verifier_is_fed_less_and_says_the_same(name):
    """The same tokens in the same passes."""
    rows = ["pipeline.view=paths"] if name in TREES else []
    text, ledger, _ = decoded(name, *rows)
    same, plain, _ = decoded(name, "pipeline.verifier.cache=null", *rows)
    assert text == same
    work = (ledger.forwards, ledger.rows, ledger.accepted)
    assert work == (plain.forwards, plain.rows, plain.accepted)
    assert ledger.fed["verify"] < plain.fed["verify"]


@pytest.mark.parametrize("name", ["aded", "recursive-speculation", "token-recycling"])
def test_a_tree_is_one_row_of_a_pass(name):
    """The same tokens in the same passes as with a row for each path, over fewer positions."""
    text, tree, _ = decoded(name)
    same, paths, _ = decoded(name, "pipeline.view=paths")
    assert text == same
    assert tree.forwards == paths.forwards
    assert tree.rows["verify"] == tree.forwards["verify"] <= paths.rows["verify"]
    assert tree.fed["verify"] < paths.fed["verify"]


@pytest.mark.parametrize("name", CHAINS)
def test_text_that_stands_is_computed_once(name):
    """A pass feeds the guesses, the token before them and the one that was added last."""
    _, ledger, prompt = decoded(name)
    assert ledger.fed["verify"] <= prompt + ledger.proposed + 2 * ledger.forwards["verify"]
