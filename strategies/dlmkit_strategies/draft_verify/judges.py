"""Judges that compare: each guess passes or fails by a rule on the verifier's distribution.

Legend: B rows, N canvas positions, E entries, D nodes, X states fed, V vocabulary.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from dlmkit.bounds import above, at_least, at_most
from dlmkit.component import option
from dlmkit.draft_verify.draft import Draft
from dlmkit.draft_verify.evidence import Evidence
from dlmkit.draft_verify.roles import Judge
from dlmkit.draft_verify.round import Round
from dlmkit.draft_verify.verdict import Verdict
from dlmkit.need import Need
from dlmkit_strategies.kernels import top_n

__all__ = [
    "Among",
    "AmongLikely",
    "Greedy",
    "Likely",
    "LikelyOrBest",
    "Transition",
    "Trust",
    "Typical",
]


def _verdict(ok_BE: Tensor, evidence: Evidence) -> Verdict:
    return Verdict(ok_BE=ok_BE, token_BE=evidence.choice_BE)


@attrs.frozen
class Transition(Judge):
    """Pass a state if it is where the verifier's own step leads from the state before it.

    The step is that of the very pipeline that would decode alone, so with a scope that stops in
    reveal order the output is that of the verifier alone, whoever drafts.
    Source: FreeDave (arXiv:2510.00294), self speculative decoding (arXiv:2510.04147).
    """

    name = "transition"
    needs_steps = True
    exact = True

    def judge(self, draft: Draft, evidence: Evidence, start: Round) -> Verdict:
        """Compare whole canvases."""
        state_BD = evidence.look.state_BD
        assert state_BD is not None  # noqa: S101 - of views that show every state
        parent_BD = draft.parent_BD + 1
        from_BD = torch.nn.functional.pad(state_BD, (1, 0)).gather(1, parent_BD)
        reached_BDN = _states(evidence.next_BXN, from_BD)
        same_BD = (reached_BDN == _states(evidence.look.tokens_BXN, state_BD)).all(dim=2)
        # A state at which the verifier stops leads nowhere.
        final_BX = torch.nn.functional.pad(evidence.ended_BX.gather(1, from_BD), (1, 0))
        return _verdict(draft.of_nodes(same_BD & ~final_BX.gather(1, parent_BD)), evidence)


def _states(values_BXN: Tensor, state_BD: Tensor) -> Tensor:
    """The canvas of the state of each node, `[B, D, N]`."""
    return values_BXN.gather(1, state_BD[..., None].expand(-1, -1, values_BXN.shape[2]))


@attrs.frozen
class Greedy(Judge):
    """Pass a guess that is what the verifier would write.

    Source: speculative decoding at temperature 0 (arXiv:2211.17192); DualDiffusion's code,
    `exact_match_verification`.
    """

    name = "greedy"
    exact = True

    def judge(self, draft: Draft, evidence: Evidence, start: Round) -> Verdict:
        """Compare with the verifier's choice."""
        return _verdict(draft.token_BE == evidence.choice_BE, evidence)


@attrs.frozen
class Likely(Judge):
    """Pass a guess that the verifier finds likely enough.

    Source: DualDiffusion (arXiv:2604.05250), confidence re-mask; its code has 0.9.
    """

    name = "conf"
    need = Need(logits=True)

    threshold: float = option(
        0.9, doc="smallest probability of a guess that passes", check=at_least(0)
    )

    def judge(self, draft: Draft, evidence: Evidence, start: Round) -> Verdict:
        """Compare its probability with the threshold; above 1 nothing passes."""
        return _verdict(evidence.entry.logp_of(draft.token_BE).exp() >= self.threshold, evidence)


@attrs.frozen
class LikelyOrBest(Likely):
    """Pass a guess that the verifier finds likely enough, and the likeliest one of a row anyway.

    So of n guesses at most n - 1 are sent back; ties go to the lowest entry.
    Source: WINO (arXiv:2507.18578), which takes back less than it has just revealed.
    """

    name = "conf-min1"

    def judge(self, draft: Draft, evidence: Evidence, start: Round) -> Verdict:
        """Compare with the threshold, and with each other."""
        logp_BE = evidence.entry.logp_of(draft.token_BE)
        best_BE = top_n(logp_BE, draft.valid_BE & evidence.rated_BE, 1)
        return _verdict((logp_BE.exp() >= self.threshold) | best_BE, evidence)


@attrs.frozen
class Among(Judge):
    """Pass a guess that is among the verifier's k most likely tokens.

    Source: dlmkit's reading of the top-k tests of guided diffusion (arXiv:2505.21467).
    """

    name = "topk"

    k: int = option(5, doc="tokens that pass", check=at_least(1))

    def needs(self) -> Need:
        """That many candidates."""
        return Need(top=self.k)

    def judge(self, draft: Draft, evidence: Evidence, start: Round) -> Verdict:
        """Look for it among the candidates."""
        ids_BEK = evidence.entry.pack.top_ids_BPK[..., : self.k]
        return _verdict((ids_BEK == draft.token_BE[..., None]).any(dim=-1), evidence)


@attrs.frozen
class AmongLikely(Judge):
    """Pass a guess among the k most likely tokens that is not much less likely than the best.

    Source: dlmkit, after the top-k tests of guided diffusion (arXiv:2505.21467).
    """

    name = "topk-rel"

    k: int = option(5, doc="tokens that may pass", check=at_least(1))
    ratio: float = option(
        0.1, doc="smallest share of the best token's probability", check=(at_least(0), at_most(1))
    )

    def needs(self) -> Need:
        """That many candidates."""
        return Need(top=self.k)

    def judge(self, draft: Draft, evidence: Evidence, start: Round) -> Verdict:
        """Look for it among the candidates that are likely enough."""
        pack = evidence.entry.pack
        hit_BEK = pack.top_ids_BPK[..., : self.k] == draft.token_BE[..., None]
        share_BEK = (pack.top_logp_BPK[..., : self.k] - pack.top_logp_BPK[..., :1]).exp()
        return _verdict((hit_BEK & (share_BEK >= self.ratio)).any(dim=-1), evidence)


@attrs.frozen
class Typical(Judge):
    """Pass a guess whose probability exceeds min(epsilon, delta e^-H), H the entropy in nats.

    Source: typical acceptance in Medusa (arXiv:2401.10774), as parallel prompt decoding calls it.
    """

    name = "typical"
    need = Need(logits=True, entropy=True)

    epsilon: float = option(0.09, doc="bound on sure positions", check=(above(0), at_most(1)))
    delta: float = option(0.3, doc="bound relative to the entropy", check=(above(0), at_most(1)))

    def judge(self, draft: Draft, evidence: Evidence, start: Round) -> Verdict:
        """Compare its probability with the bound."""
        entropy_BE = evidence.entry.pack.entropy_BP
        assert entropy_BE is not None  # noqa: S101 - declared in `need`
        bound_BE = (self.delta * (-entropy_BE).exp()).clamp_max(self.epsilon)
        return _verdict(evidence.entry.logp_of(draft.token_BE).exp() > bound_BE, evidence)


@attrs.frozen
class Trust(Judge):
    """Pass every guess.

    Source: DualDiffusion's code, where `trust_verifier` and `no_verification` both return the
    draft.  The paper's rule of that name is `greedy` with `resolve: replace-all`.
    """

    name = "trust"

    def judge(self, draft: Draft, evidence: Evidence, start: Round) -> Verdict:
        """No question asked."""
        return _verdict(draft.valid_BE, evidence)
