"""Token automata: which tokens can stand where, if a text is to match a regular expression.

Texts may have gaps anywhere.  What is before a gap says in which states the automaton may be, what
is behind it from which states it can still accept; a token is allowed if it leads from one to
the other.

Legend: B rows, V vocabulary, Q states (the last one is dead), C classes of tokens that lead alike,
R region positions, S region borders (R + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor

from dlmkit_strategies.byte_automaton import ByteAutomaton, byte_automaton

if TYPE_CHECKING:
    from dlmkit.models.tokenizer import Tokenizer

__all__ = ["TokenAutomaton", "token_automaton"]


@attrs.frozen(eq=False)
class TokenAutomaton:
    """A deterministic automaton over tokens.

    `next_QC` int64 is the state that a class of tokens leads to, `class_V` int64 the class of
    each token, `step_QQ` float32 is 1 where some token leads from one state to another, and
    `accepting_Q` bool marks where a text may end.  It starts in state 0.
    """

    next_QC: Tensor
    class_V: Tensor
    step_QQ: Tensor
    accepting_Q: Tensor

    def before(self, tokens_BR: Tensor, open_BR: Tensor, inside_BR: Tensor) -> Tensor:
        """States that the text up to each border may lead to, `states_BSQ` bool.

        `open_BR` marks gaps, where any token may stand; what is not inside counts for nothing.
        """
        target_BRQ = self.next_QC.T[self.class_V[tokens_BR]]
        states_BQ = self.step_QQ.new_zeros(len(tokens_BR), len(self.step_QQ))
        states_BQ[:, 0] = 1
        found = [states_BQ]
        for place in range(tokens_BR.shape[1]):
            decided_BQ = torch.zeros_like(states_BQ).scatter_add(1, target_BRQ[:, place], states_BQ)
            any_BQ = states_BQ @ self.step_QQ
            moved_BQ = torch.where(open_BR[:, place, None], any_BQ, decided_BQ).sign()
            moved_BQ[:, -1] = 0
            states_BQ = torch.where(inside_BR[:, place, None], moved_BQ, states_BQ)
            found.append(states_BQ)
        return torch.stack(found, dim=1) > 0

    def behind(self, tokens_BR: Tensor, open_BR: Tensor, inside_BR: Tensor) -> Tensor:
        """States from which the text behind each border can be accepted, `states_BSQ` bool."""
        target_BRQ = self.next_QC.T[self.class_V[tokens_BR]]
        states_BQ = self.accepting_Q.to(self.step_QQ.dtype).expand(len(tokens_BR), -1)
        found = [states_BQ]
        for place in reversed(range(tokens_BR.shape[1])):
            decided_BQ = states_BQ.gather(1, target_BRQ[:, place])
            any_BQ = (states_BQ @ self.step_QQ.T).sign()
            moved_BQ = torch.where(open_BR[:, place, None], any_BQ, decided_BQ)
            states_BQ = torch.where(inside_BR[:, place, None], moved_BQ, states_BQ)
            found.append(states_BQ)
        return torch.stack(found[::-1], dim=1) > 0

    def allowed(self, before_BQ: Tensor, behind_BQ: Tensor) -> Tensor:
        """Tokens that lead from a state before a position to one behind it, `allowed_BV` bool."""
        rows, (states, classes) = len(before_BQ), self.next_QC.shape
        flat = self.next_QC.reshape(1, -1).expand(rows, -1)
        good_BQC = behind_BQ.gather(1, flat).view(rows, states, classes)
        allowed_BC = (good_BQC & before_BQ[:, :, None]).any(dim=1)
        return allowed_BC[:, self.class_V]

    def accepts(self, states_BQ: Tensor) -> Tensor:
        """Rows in which one of the states accepts, `accepts_B` bool."""
        return (states_BQ & self.accepting_Q).any(dim=1)


@lru_cache(maxsize=8)
def token_automaton(
    pattern: str,
    tokenizer: Tokenizer,
    ends: tuple[int, ...],
    vocabulary: int,
    device: torch.device,
) -> TokenAutomaton:
    """Compile a regular expression for a tokenizer; behind a match, only `ends` may follow.

    Takes seconds for large vocabularies, once for each pattern.

    Raises:
        RequestError: the expression cannot be used.
    """
    machine = byte_automaton(pattern)
    ended, dead = len(machine.next_QT) - 1, len(machine.next_QT)
    next_QV = torch.full((dead + 1, vocabulary), dead, dtype=torch.int64)
    spelled = [(token, text) for token, text in enumerate(tokenizer.spelling) if text]
    tokens = torch.tensor([token for token, _ in spelled], dtype=torch.int64)
    leads_QV = _leads(machine, [text for _, text in spelled])
    next_QV[:ended, tokens] = torch.where(leads_QV == ended, dead, leads_QV)[:ended]
    next_QV[:, list(ends)] = dead
    for end in ends:
        next_QV[[*machine.accepting, ended], end] = ended
    columns: Any = next_QV  # `unique` has no types
    next_QC, class_V = columns.unique(dim=1, return_inverse=True)
    step_QQ = torch.zeros(dead + 1, dead + 1).scatter(1, next_QC, 1.0)
    step_QQ[:, dead] = 0
    accepting_Q = torch.zeros(dead + 1, dtype=torch.bool)
    accepting_Q[[*machine.accepting, ended]] = True
    parts = (next_QC, class_V, step_QQ, accepting_Q)
    return TokenAutomaton(*(each.to(device) for each in parts))


def _leads(machine: ByteAutomaton, texts: Sequence[bytes]) -> Tensor:
    """The state after each text from each state, `leads_QV` int64."""
    order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
    states = len(machine.next_QT)
    leads_QV = torch.arange(states)[:, None].repeat(1, len(texts))
    for place in range(max(map(len, texts), default=0)):
        alive = [texts[each][place] for each in order if len(texts[each]) > place]
        count = len(alive)
        leads_QV[:, :count] = machine.next_QT[leads_QV[:, :count], torch.tensor(alive)]
    back_V = torch.tensor(order, dtype=torch.int64).argsort()
    return leads_QV[:, back_V]
