"""ADED writes what greedy decoding does, from statistics that follow the text."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import product

import attrs
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from dlmkit.builtin.accuracy import held_out
from dlmkit.builtin.evaluate import SEED
from dlmkit.canvas import Canvas
from dlmkit.draft_verify.round import Round
from dlmkit.errors import RequestError
from dlmkit.noise import Noise
from dlmkit.spec import SpecError, load_spec
from dlmkit_strategies.draft_verify import Fixed
from dlmkit_strategies.trees import builtin_trigrams
from dlmkit_strategies.trees.count_trigrams import main
from dlmkit_strategies.trees.trigram_table import KEPT, TrigramTable, table_file
from dlmkit_strategies.trees.trigrams import TrigramTree, _Looking
from tests.models.checkpoints import loaded
from tests.strategies.answers import answers
from tests.strategies.trees.chains import decoded, greedily, markov

PROMPTS = [[3, 1, 4, 1, 5, 3, 1, 4], [2], [6, 5, 3, 6, 5]]
SAMPLES = 4000


def aded(*changes):
    bare = ["pipeline.verifier.stop=[]", "pipeline.draft.table=null"]
    return load_spec("aded", [*bare, *changes]).pipeline


def drafted(drafter, text, table=None, new=6):
    """The paths that are drafted after a text, likeliest first among those of a length."""
    canvas = Canvas.create([text], new, 99)
    start = Round(
        number=0,
        canvas=canvas,
        noise=Noise(0, canvas.samples_B, 0),
        budget_B=torch.tensor([new]),
        schedule=Fixed(steps=new),
    )
    drafting = _Looking(drafter, table or TrigramTable.counted([])).draft(start)
    with pytest.raises(StopIteration) as end:
        next(drafting)
    draft, texts = end.value.value, {}
    for node, token in enumerate(draft.token_BE[0].tolist()):
        texts[node] = (*texts.get(int(draft.parent_BD[0, node]), ()), token)
    kept = [texts[node] for node in range(draft.nodes) if draft.valid_BE[0, node]]
    return sorted(kept, key=len)


def counted(text, shares, drafter):
    """Weights of the successors of every pair, in the plainest words."""
    met = defaultdict(Counter)
    for triple in zip(text, text[1:], text[2:], strict=False):
        met[triple[:2]][triple[2]] += 1
    weights = defaultdict(dict)
    for pair in {*met, *shares}:
        for token in {*met[pair], *shares.get(pair, {})}:
            own = shares.get(pair, {}).get(token, 0.0) + drafter.gain * met[pair][token]
            weights[pair][token] = min(own, drafter.most)
    return weights


def likeliest(text, shares, drafter):
    """Every path up to the depth, and the likeliest of them with their likelihoods."""
    weights, paths, level = counted(text, shares, drafter), {}, {(): 1.0}
    for _ in range(drafter.depth):
        grown = {}
        for path, value in level.items():
            after = weights.get((*text, *path)[-2:], {})
            total = sum(after.values())
            grown |= {(*path, token): value * weight / total for token, weight in after.items()}
        paths, level = paths | grown, grown
    return paths


TEXTS = st.lists(st.integers(0, 3), min_size=2, max_size=14)


@settings(max_examples=40, deadline=None)
@given(text=TEXTS, other=TEXTS, nodes=st.integers(1, 12), depth=st.integers(1, 3))
def test_the_tree_is_that_of_the_likeliest_paths(text, other, nodes, depth):
    """Against all paths, with a table of another text beside the text's own counts."""
    drafter = TrigramTree(nodes=nodes, depth=depth)
    met = defaultdict(Counter)
    for triple in zip(other, other[1:], other[2:], strict=False):
        met[triple[:2]][triple[2]] += 1
    shares = {
        pair: {token: count / after.total() for token, count in after.items()}
        for pair, after in met.items()
    }
    every = likeliest(text, shares, drafter)
    found = drafted(drafter, text, TrigramTable.counted([other]))
    assert len(found) == min(nodes, len(every))
    assert all(len(path) == 1 or path[:-1] in found for path in found)
    best = sorted(every.values(), reverse=True)[: len(found)]
    assert best == pytest.approx(sorted((every[path] for path in found), reverse=True), rel=1e-5)


def test_the_statistics_follow_the_text():
    """What the table says of a pair gives way to how the text goes on."""
    table = TrigramTable.counted([[1, 2, 8]] * 3 + [[1, 2, 9]])
    drafter = TrigramTree(nodes=1, depth=1, gain=0.3)
    assert [(8,)] == drafted(drafter, [1, 2], table)
    assert [(9,)] == drafted(drafter, [1, 2, 9, 5, 1, 2, 9, 1, 2], table)


def test_a_weight_has_a_bound():
    """Forty occurrences count as much as one where that is the bound; the latest then leads."""
    text = [1, 2, 7] * 40 + [1, 2, 8, 1, 2]
    assert [(7,), (8,)] == drafted(TrigramTree(nodes=2, depth=1), text)
    assert [(8,), (7,)] == drafted(TrigramTree(nodes=2, depth=1, most=0.04), text)


@pytest.mark.parametrize("family", ["qwen2_ar", "qwen3_ar", "llama_ar"])
def test_the_text_is_that_of_greedy_decoding(family):
    """In a batch, in fewer passes or as many, on each causal fixture."""
    network = loaded(family, dtype="float32").network
    plain = load_spec("autoregressive", ["pipeline.stop=[]"]).pipeline
    rows, records, _ = decoded(plain, {"main": network}, PROMPTS, 16)
    found, passes, _ = decoded(aded(), {"main": network}, PROMPTS, 16)
    assert rows == found
    assert len(passes) <= len(records)


def test_a_chain_that_goes_in_circles_is_accepted_whole():
    """Once the circle is closed, a pass decides as deep as the tree goes, and one more."""
    net = markov(3)
    found, records, _ = decoded(aded(), {"main": net}, [[0]], 60)
    assert greedily(net.table_VV, [0], 60) == found[0]
    decides = [int((each.before_BN != each.after_BN).sum()) for each in records]
    assert [5] * 5 == decides[-6:-1]


def test_a_verifier_that_draws_keeps_its_law():
    """A guess stands if it is what the verifier has drawn there."""
    net = markov(1, 4, 1.0)
    few = ["pipeline.draft.nodes=4", "pipeline.draft.depth=2"]
    pipeline = aded("pipeline.verifier.sample=categorical", *few)
    prompt = [0, 1, 2, 0, 3, 2, 0]
    found, _, _ = decoded(pipeline, {"main": net}, [prompt] * SAMPLES, 2)
    law_VV = net.table_VV.softmax(dim=1)
    for a, b in product(range(4), repeat=2):
        share = float(law_VV[0, a] * law_VV[a, b])
        spread = (share * (1 - share) / SAMPLES) ** 0.5
        assert found.count([a, b]) / SAMPLES == pytest.approx(share, abs=4.5 * spread)


def test_a_try_of_its_own_for_each_brother_is_refused():
    """The mistake of the published sampling mode, at the judge."""
    changes = ["pipeline.verifier.sample=categorical", "pipeline.judge=point-mass"]
    with pytest.raises(SpecError, match="alternatives, which together would pass too often"):
        aded(*changes)


def test_a_row_decodes_as_it_does_alone():
    """Each row has statistics of its own."""
    net = markov(5)
    together, _, _ = decoded(aded(), {"main": net}, PROMPTS, 12)
    alone = [decoded(aded(), {"main": net}, [prompt], 12)[0][0] for prompt in PROMPTS]
    assert alone == together


@given(texts=st.lists(TEXTS, max_size=4))
def test_a_table_holds_the_shares_of_what_was_counted(texts):
    """Successors best first; pairs that never came up have none."""
    table = TrigramTable.counted(texts)
    met = defaultdict(Counter)
    for text in texts:
        for triple in zip(text, text[1:], text[2:], strict=False):
            met[triple[:2]][triple[2]] += 1
    pairs = list(product(range(4), repeat=2))
    next_K, share_K = table.after(torch.tensor([pairs]), KEPT)
    for number, pair in enumerate(pairs):
        rows = zip(next_K[0, number].tolist(), share_K[0, number].tolist(), strict=True)
        found = {token: share for token, share in rows if token >= 0}
        total = met[pair].total()
        expected = {token: count / total for token, count in met[pair].items()}
        assert found == pytest.approx(expected)


def test_a_text_is_counted_from_the_command_line(tmp_path):
    """And the table is what the drafter reads."""
    (tmp_path / "text.txt").write_text("sort: 5 2 9 1\n" * 3)
    out = tmp_path / "table.safetensors"
    done = CliRunner().invoke(main, ["builtin/guide", str(tmp_path / "text.txt"), str(out)])
    assert 0 == done.exit_code, done.output
    table = TrigramTable.read(str(out), 800, "cpu")
    assert bool((table.share_MK[:, 0] > 0).all())
    decoded(aded(f"pipeline.draft.table={out}"), {"main": markov(1, 800)}, [[1, 2, 3]], 2)


def test_the_table_of_the_built_in_models_is_what_its_command_counts(tmp_path):
    """Pair by pair, so that it can be made anew."""
    out = tmp_path / "table.safetensors"
    done = CliRunner().invoke(builtin_trigrams.main, ["--out", str(out)])
    assert 0 == done.exit_code, done.output
    shipped, made = (
        TrigramTable.read(path, 1024, "cpu") for path in (table_file("builtin/guide"), out)
    )
    for one, other in zip(attrs.astuple(shipped), attrs.astuple(made), strict=True):
        assert torch.equal(one, other)


def test_the_table_of_the_built_in_models_saves_passes():
    """The same answers in less than half of the passes that the text's own counts take."""
    examples = held_out("word problems", 8, SEED)
    with_table, fewer = answers("aded", examples)
    alone, most = answers("aded", examples, "pipeline.draft.table=null")
    assert with_table == alone
    assert fewer < 0.5 * most


def test_a_table_that_is_not_there_is_refused():
    """At check time, with the command that writes one."""
    with pytest.raises(SpecError, match="names no file: 'nowhere'"):
        aded("pipeline.draft.table=nowhere")


def test_a_file_that_is_no_table_is_refused(tmp_path):
    """Also one that counts tokens which the verifier does not have."""
    (tmp_path / "broken").write_bytes(b"no table")
    TrigramTable.counted([[1, 2, 30]]).write(tmp_path / "large")
    for name, reason in (("none", "no table"), ("broken", "no table"), ("large", "token 30")):
        with pytest.raises(RequestError, match=reason):
            TrigramTable.read(str(tmp_path / name), 9, "cpu")
