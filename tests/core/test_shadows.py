"""Shadow queries predict a token from everything but that token, and disturb nobody.

Everything runs in float64 on the toy network.
"""

from __future__ import annotations

import attrs
import pytest
import torch

from dlmkit.canvas import Canvas
from dlmkit.errors import EngineError
from dlmkit.models.arch import AttentionPattern
from dlmkit.need import Need
from dlmkit.network import NetworkInputs
from dlmkit.passes.plan import Plan
from dlmkit.passes.session import Session
from dlmkit.testing.toy import toy_network

LOGITS = Need(logits=True)
MASK = 23
SHIFTS = pytest.mark.parametrize("shift", [0, 1])


def canvas_of(*prompts, new=3):
    return Canvas.create(prompts, new, MASK)


@pytest.fixture
def canvas():
    return canvas_of([3, 1, 4, 1, 5, 9], [2, 7, 1, 8, 2, 8])


def everywhere(canvas):
    return torch.arange(canvas.tokens_BN.shape[1]).expand_as(canvas.tokens_BN)


def targets(canvas, *positions):
    return torch.tensor([positions] * len(canvas.tokens_BN))


def run(network, canvas, plan, session=None):
    """The prediction everywhere, with its shadows."""
    variants, wanted = [canvas.tokens_BN], everywhere(canvas)
    (prediction,) = (session or Session(network)).predict(variants, canvas, wanted, plan, LOGITS)
    return prediction


def shadowed(canvas, *positions, **changes):
    return attrs.evolve(
        Plan.full(canvas.tokens_BN), shadow_BH=targets(canvas, *positions), **changes
    )


def written_out(network, tokens, positions, *, meet):
    """The shadows' logits by one call with the mask filled in cell by cell."""
    shift, count = network.info.logit_shift, len(tokens)
    sources = [max(position - shift, 0) for position in positions]
    ids = [*tokens, *[tokens[source] if shift else MASK for source in sources]]
    seen = torch.zeros(len(ids), len(ids), dtype=torch.bool)
    seen[:count, :count] = True
    for number, (target, source) in enumerate(zip(positions, sources, strict=True)):
        for key in range(count):
            seen[count + number, key] = key not in (target, source)
        for other in range(len(positions)):
            seen[count + number, count + other] = meet or other == number
    rows = torch.arange(count, len(ids))[None]
    places = torch.tensor([[*range(count), *sources]])
    inputs = NetworkInputs(
        ids_BQ=torch.tensor([ids]),
        positions_BQ=places,
        want_BS=rows,
        mask_new_B1QQ=seen[None, None],
    )
    return network.forward(inputs, LOGITS).logits_BSV


def close(one, other):
    return torch.allclose(one, other, rtol=0, atol=1e-9)


@SHIFTS
@pytest.mark.parametrize("meet", [False, True])
def test_a_shadow_sees_all_but_its_token(canvas, shift, meet):
    """Its logits are those of a mask that was written out cell by cell."""
    network = toy_network(logit_shift=shift)
    found = run(network, canvas, shadowed(canvas, 2, 4, 7, shadows_meet=meet)).shadow.logits_BPV
    for row, tokens in enumerate(canvas.tokens_BN.tolist()):
        expected = written_out(network, tokens, [2, 4, 7], meet=meet)
        assert close(expected, found[row : row + 1])


@SHIFTS
def test_ordinary_queries_do_not_see_shadows(canvas, shift):
    """Predictions are the same with and without them."""
    network = toy_network(logit_shift=shift)
    plain = run(network, canvas, Plan.full(canvas.tokens_BN))
    assert plain.shadow is None
    assert close(plain.logits_BPV, run(network, canvas, shadowed(canvas, 1, 6)).logits_BPV)


def test_the_shadow_of_a_mask_predicts_what_the_mask_predicts(canvas):
    """A mask is hidden from nobody, so its shadow is its twin."""
    found = run(toy_network(), canvas, shadowed(canvas, 6, 8))
    assert close(found.logits_BPV[:, [6, 8]], found.shadow.logits_BPV)


@pytest.mark.parametrize("kind", ["full", "block-causal"])
@SHIFTS
def test_shadows_read_the_store_except_at_their_token(canvas, kind, shift):
    """With nothing stale, feeding a span gives the shadows of feeding everything."""
    attention = AttentionPattern(kind=kind, block=3 if kind == "block-causal" else None)
    network = toy_network(logit_shift=shift, attention=attention)
    session = Session(network)
    expected = run(network, canvas, shadowed(canvas, 2, 5, 7)).shadow.logits_BPV
    run(network, canvas, Plan.full(canvas.tokens_BN, commit=True), session)
    compute_BN = (everywhere(canvas) >= 5) & (everywhere(canvas) < 9)
    plan = Plan.of(compute_BN, cached_BN=~compute_BN)
    plan = attrs.evolve(plan, shadow_BH=targets(canvas, 2, 5, 7))
    wanted, variants = everywhere(canvas)[:, 6:], [canvas.tokens_BN]
    (found,) = session.predict(variants, canvas, wanted, plan, LOGITS)
    assert close(expected, found.shadow.logits_BPV)


def test_shadows_are_never_stored(canvas):
    """A pass that stores everything stores the same with shadows."""
    with_shadows, without = Session(toy_network()), Session(toy_network())
    plan = Plan.full(canvas.tokens_BN, commit=True)
    run(None, canvas, plan, without)
    run(None, canvas, attrs.evolve(plan, shadow_BH=targets(canvas, 1, 2)), with_shadows)
    assert torch.equal(without.store.tag_BN, with_shadows.store.tag_BN)
    assert close(without.store.content.keys_YBGCE, with_shadows.store.content.keys_YBGCE)


@SHIFTS
def test_a_row_with_shadows_does_not_depend_on_its_batch(shift):
    """Rows of several lengths, one of them with filler shadows, give what each gives alone."""
    network, prompts = toy_network(logit_shift=shift), ([3, 1, 4, 1, 5, 9], [2, 7])
    batch = canvas_of(*prompts)
    valid_BH = torch.tensor([[True, True], [True, False]])
    plan = shadowed(batch, 2, 7, shadow_valid_BH=valid_BH, shadows_meet=True)
    together = run(network, batch, plan).shadow.logits_BPV
    for row, (prompt, positions) in enumerate(zip(prompts, [(2, 7), (2,)], strict=True)):
        canvas = canvas_of(prompt)
        alone = run(network, canvas, shadowed(canvas, *positions, shadows_meet=True)).shadow
        assert close(alone.logits_BPV[0], together[row, : len(positions)])


def test_every_variant_has_its_own_shadows(canvas):
    """Variants of one pass get the shadows that each would get by itself."""
    turned = canvas.tokens_BN.flip(0)
    plan, session = shadowed(canvas, 2, 4), Session(toy_network())
    wanted = everywhere(canvas)
    pair = session.predict([canvas.tokens_BN, turned], canvas, wanted, plan, LOGITS)
    for tokens_BN, found in zip((canvas.tokens_BN, turned), pair, strict=True):
        (alone,) = Session(toy_network()).predict([tokens_BN], canvas, wanted, plan, LOGITS)
        assert close(alone.shadow.logits_BPV, found.shadow.logits_BPV)


def test_a_shadow_rates_the_token_that_stands_there(canvas):
    """Its pack holds the log-probability of that token, whoever asked for it."""
    found = run(toy_network(), canvas, shadowed(canvas, 0, 3)).shadow
    logp_BHV = found.logits_BPV.log_softmax(-1)
    tokens_BH = canvas.tokens_BN[:, [0, 3]]
    expected_BH = logp_BHV.gather(-1, tokens_BH[..., None])[..., 0]
    assert close(expected_BH, found.pack.current_logp_BP)


def test_shadows_are_counted_as_fed_positions(canvas):
    """Nine positions and two shadows are eleven queries in each row."""
    session = Session(toy_network())
    run(None, canvas, shadowed(canvas, 0, 3), session)
    assert session.counts.fed_positions == 22


def test_a_causal_network_has_no_shadows(canvas):
    """There the token is unseen anyway; the error says what to use."""
    network = toy_network(attention=AttentionPattern(kind="causal"))
    with pytest.raises(EngineError, match="causal attention") as caught:
        run(network, canvas, shadowed(canvas, 2))
    assert "full or block-causal" in str(caught.value.hint)


def test_shadows_where_layers_read_different_positions_are_refused(canvas):
    """A token cannot be hidden from a query that reads other slots in each layer."""
    layers_BNY = torch.ones(*canvas.tokens_BN.shape, 2, dtype=torch.bool)
    plan = shadowed(canvas, 2, layers_BNY=layers_BNY, layers_width=3)
    with pytest.raises(EngineError, match="hidden from its shadow"):
        run(toy_network(), canvas, plan)
