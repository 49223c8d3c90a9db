"""Constraints: the finished text matches a regular expression, or a JSON schema.

The logits transform forbids every token with which the text could no longer match, whatever stands
left and right of its position.  The guard looks at the commits of a step together: each of two
tokens may be possible, and both not.

Legend: B rows, N canvas positions, P window positions, R region positions, V vocabulary,
K numbers of commits that are tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isqrt
from typing import Any

import attrs
import torch
from torch import Tensor

from dlmkit.bundles import Bundle
from dlmkit.component import Component, option
from dlmkit.errors import RequestError, StrategyError
from dlmkit.need import Need
from dlmkit.roles import CommitGuard, LogitsTransform
from dlmkit.view import View, window
from dlmkit_strategies.automaton import TokenAutomaton, token_automaton
from dlmkit_strategies.byte_automaton import byte_automaton, regex_of_schema
from dlmkit_strategies.kernels import rank

__all__ = ["Matching", "MatchingBundle", "MatchingGuard"]

_PATTERN = "regular expression (Python syntax) for the whole text, up to its first end token"
_SCHEMA = "JSON schema, as JSON text, instead of `pattern`"


@attrs.frozen
class _Language(Component):
    """Says what the finished text is, by one of two options."""

    pattern: str | None = option(None, doc=_PATTERN, examples=("[a-k]*",))
    schema: str | None = option(None, doc=_SCHEMA)

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Refuse what is not one regular language."""
        pattern, schema = options["pattern"], options["schema"]
        if (pattern is None) == (schema is None):
            yield (
                "pattern",
                "give either `pattern` or `schema`",
                "one of them says what the text is",
            )
            return
        try:
            byte_automaton(regex_of_schema(schema) if pattern is None else pattern)
        except RequestError as error:
            yield "schema" if pattern is None else "pattern", str(error.args[0]), error.hint or ""


@attrs.frozen
class Matching(_Language, LogitsTransform):
    """Forbid tokens with which the text could no longer match.

    What is possible in a gap follows from the decided tokens on both sides.  Costs two sweeps over
    the region in every step.  Needs the extra `constraints`.
    Where nothing is possible any more, because something else wrote what does not match,
    nothing is forbidden.  Source: dlmkit; Willard & Louf (arXiv:2307.09702) for left to right.
    """

    name = "matching"

    def edit(self, logits_BPV: Tensor, view: View) -> Tensor:
        """Set the forbidden logits of masked positions to minus infinity."""
        automaton = _automaton(self.pattern, self.schema, view)
        text = _Region.of(view)
        before_BSQ = automaton.before(text.tokens_BR, text.open_BR, text.inside_BR)
        if view.step == 0:  # once in a decode, so the host may be asked
            _refuse_impossible(automaton, before_BSQ[:, -1], text)
        behind_BSQ = automaton.behind(text.tokens_BR, text.open_BR, text.inside_BR)
        offset_BP = view.positions_BP - view.canvas.start_B[:, None]
        offset_BP = offset_BP.clamp(0, text.tokens_BR.shape[1] - 1)  # filler may lie outside
        rows = torch.arange(len(offset_BP), device=offset_BP.device)
        allowed_BPV = torch.stack(
            [
                automaton.allowed(before_BSQ[rows, each_B], behind_BSQ[rows, each_B + 1])
                for each_B in offset_BP.unbind(dim=1)
            ],
            dim=1,
        )
        binding_BP = view.masked_BP & allowed_BPV.any(dim=-1)
        return logits_BPV.masked_fill(~allowed_BPV & binding_BP[..., None], -torch.inf)


@attrs.frozen
class MatchingGuard(_Language, CommitGuard):
    """Keep the most confident commits with which the text can still match together.

    At least one is kept.  Goes with the logits transform of the same name and options, which needs
    full logits, and costs two sweeps over the region.  Source: dlmkit.
    """

    name = "matching"
    drops = True
    need = Need(logits=True)
    binding = True

    def guard(self, commit_BP: Tensor, confidence_BP: Tensor, view: View) -> Tensor:
        """The longest prefix of the ranking that is possible."""
        automaton, text = _automaton(self.pattern, self.schema, view), _Region.of(view)
        rank_BP = torch.where(commit_BP, rank(confidence_BP, commit_BP), commit_BP.shape[1])
        most_B1 = commit_BP.sum(dim=1, keepdim=True)
        # Any prefix of a possible one is possible: first in strides, then one by one.
        stride = isqrt(commit_BP.shape[1]) + 1
        steps_K = torch.arange(1, stride + 1, device=most_B1.device)
        kept_B1 = torch.zeros_like(most_B1)
        for each_K in (steps_K * stride, steps_K[:-1]):
            tried_BK = (kept_B1 + each_K).minimum(most_B1)
            possible_BK = text.possible(automaton, rank_BP, tried_BK, view)
            reached_B1 = possible_BK.sum(dim=1, keepdim=True) * each_K[0]
            kept_B1 = (kept_B1 + reached_B1).minimum(most_B1)
        return commit_BP & (rank_BP < kept_B1.clamp_min(1))


@attrs.frozen
class MatchingBundle(_Language, Bundle):
    """Decode a text that matches a regular expression or a JSON schema.

    Fills `logits` and `guard`.  Source: dlmkit.
    """

    name = "matching"

    def slots(self) -> Mapping[str, Any]:
        """The transform and the guard."""
        said = {"pattern": self.pattern, "schema": self.schema}
        return {"logits": (Matching(**said),), "guard": (MatchingGuard(**said),)}


@attrs.frozen(eq=False)
class _Region:
    """The region of each row from its first position on: tokens, gaps, and what is inside."""

    tokens_BR: Tensor
    open_BR: Tensor
    inside_BR: Tensor

    @classmethod
    def of(cls, view: View) -> _Region:
        """The region as it stands."""
        canvas = view.canvas
        places_BR, inside_BR = window(
            canvas.start_B, canvas.length_B, canvas.region_width, canvas.tokens_BN.shape[1]
        )
        open_BR = canvas.masked_BN.gather(1, places_BR)
        return cls(canvas.tokens_BN.gather(1, places_BR), open_BR, inside_BR)

    def possible(
        self, automaton: TokenAutomaton, rank_BP: Tensor, tried_BK: Tensor, view: View
    ) -> Tensor:
        """Whether the text can match with the first so many proposals in it, `possible_BK`."""
        tries = [self.deciding(rank_BP < each_B[:, None], view) for each_B in tried_BK.unbind(1)]
        tokens, gaps = (
            torch.cat([getattr(each, name) for each in tries]) for name in ("tokens_BR", "open_BR")
        )
        before_BSQ = automaton.before(tokens, gaps, self.inside_BR.repeat(len(tries), 1))
        return automaton.accepts(before_BSQ[:, -1]).view(len(tries), -1).T

    def deciding(self, where_BP: Tensor, view: View) -> _Region:
        """The region with some of the step's proposals in it."""
        width = self.tokens_BR.shape[1]
        offset_BP = view.positions_BP - view.canvas.start_B[:, None]
        target_BP = torch.where(where_BP, offset_BP, width)
        wider = torch.nn.functional.pad(self.tokens_BR, (0, 1))
        tokens_BR = wider.scatter(1, target_BP, view.proposal.tokens_BP)[:, :width]
        new_BR = torch.zeros_like(wider, dtype=torch.bool).scatter(1, target_BP, True)[:, :width]
        return _Region(tokens_BR, self.open_BR & ~new_BR, self.inside_BR)


def _automaton(pattern: str | None, schema: str | None, view: View) -> TokenAutomaton:
    """The automaton for the tokenizer of the model that decodes.

    Raises:
        StrategyError: the model has no tokenizer.
    """
    info = view.info
    if info.tokenizer is None:
        raise StrategyError(
            "a constraint needs the texts of tokens, but the model has no tokenizer",
            hint="add its tokenizer.json to the folder",
        )
    regex = pattern if schema is None else regex_of_schema(schema)
    ends = (*info.eos_ids, *info.eot_ids)
    device = view.positions_BP.device
    return token_automaton(regex or "", info.tokenizer, ends, info.vocab_size, device)


def _refuse_impossible(automaton: TokenAutomaton, last_BQ: Tensor, text: _Region) -> None:
    impossible_B = ~automaton.accepts(last_BQ)
    if bool(impossible_B.any()):
        row = int(impossible_B.int().argmax())
        room = int(text.inside_BR[row].sum())
        raise RequestError(
            f"no text of {room} tokens matches the constraint of row {row}",
            hint="raise gen_length, loosen the constraint, or change what is given",
        )
