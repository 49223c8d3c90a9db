"""The diffusion-forcing sampler over one text, one position at a time."""

from __future__ import annotations

import torch

from dlmkit.noise import Noise
from dlmkit.passes.latents import Latents


def ended(tokens, start, end):
    """The text with the end token from its first one on."""
    first = tokens.index(end, start) if end in tokens[start:] else len(tokens)
    return tokens[:first] + [end] * (len(tokens) - first)


class WavefrontLoop:
    """A text and its latents as lists by position; `frozen` is the last position that is final."""

    def __init__(self, network, prompt, rules, new, *, seed, sample):
        self.network, self.rules, self.prompt = network, rules, prompt
        self.seed, self.samples_B = seed, torch.tensor([sample])
        self.last, self.frozen = len(prompt) + new - 1, len(prompt) - 1
        places = torch.arange(self.last + 1)[None]
        draws, info = Noise(seed, self.samples_B, 0), network.info
        self.states = list(rules.scale * draws.normal_BPW("latents", places, info.latent_dim)[0])
        guesses = (draws.uniform_BP("guesses", places)[0] * info.vocab_size).long().tolist()
        self.tokens = prompt + guesses[len(prompt) :]
        self.conditions = [torch.zeros_like(each) for each in self.states]
        self.counts, self.stable = [0] * (self.last + 1), [0] * (self.last + 1)
        self.history = [[state] for state in self.states]
        self.stored = {}

    def text(self):
        """Decode to the end."""
        rules, step = self.rules, 0
        self.refine(list(range(len(self.prompt))), rules.depth, 0.0, 0)
        self.frozen = len(self.prompt)
        wave = self.longer([])
        while self.frozen < self.last:
            step += 1
            for place in wave:
                self.disturb(place, step)
            self.refine(wave, rules.recurrences, rules.momentum, step)
            final = self.final([self.settled(place) for place in wave])
            self.frozen += final
            wave = self.longer(wave[final:])
        return ended(self.tokens, len(self.prompt), self.network.info.eos_ids[0])

    def longer(self, wave):
        """The wavefront with what is added to it."""
        front = wave[-1] + 1 if wave else self.frozen
        wave = wave + list(range(front, front + self.rules.headway))
        return [place for place in wave if place < self.last][: self.rules.wave]

    def disturb(self, place, step):
        """Mix noise into a state."""
        noise = Noise(self.seed, self.samples_B, step)
        draw = noise.normal_BPW("renewal", torch.tensor([[place]]), len(self.states[place]))[0, 0]
        share = self.rules.noise / (1 + self.counts[place])
        self.states[place] = (1 - share) * self.states[place] + share * self.rules.scale * draw

    def refine(self, wave, recurrences, momentum, step):
        """Run the network on positions that follow all that is stored; guess what follows each."""
        before, new = range(wave[0]), len(wave)
        past = [None, None]
        if before:
            past = [torch.stack([self.stored[p][i] for p in before], 2)[:, None] for i in (0, 1)]
        seen = torch.ones(new, len(before) + new).tril(len(before)).bool()
        latents = Latents(
            state_BND=torch.stack([self.states[place] for place in wave])[None],
            condition_BND=torch.stack([self.conditions[place] for place in wave])[None],
            kept_BN=torch.tensor([[momentum * (self.counts[p] > 0) for p in wave]]).double(),
            recurrences=recurrences,
        )
        ids, decoder = torch.tensor([[self.tokens[place] for place in wave]]), self.network.decoder
        hidden, after, keys, values = decoder.refine(
            ids, torch.tensor([wave]), latents, seen[None, None], *past
        )
        logits = decoder.head(hidden)[0]
        logits[:, self.network.info.mask_id] = -torch.inf
        for number, place in enumerate(wave):
            self.states[place] = after.state_BND[0, number]
            self.conditions[place] = after.condition_BND[0, number]
            self.history[place].append(self.states[place])
            self.stored[place] = keys[:, 0, :, number], values[:, 0, :, number]
            if place + 1 > self.frozen:
                token = self.guess(logits[number], place + 1, step)
                self.stable[place] += self.counts[place] > 0 and token == self.tokens[place + 1]
                self.tokens[place + 1] = token
            self.counts[place] += recurrences

    def guess(self, logits, place, step):
        """The best token, or one that is drawn."""
        if self.rules.temperature:
            noise = Noise(self.seed, self.samples_B, step)
            draws = noise.gumbel_BPV("tokens", torch.tensor([[place]]), len(logits))[0, 0]
            logits = logits.double() / self.rules.temperature + draws
        return int(logits.argmax())

    def settled(self, place):
        """Whether a state has converged, or has been waited for long enough."""
        rules, states = self.rules, self.history[place]
        patience = rules.depth if rules.patience is None else rules.patience
        if self.counts[place] >= patience:
            return True
        if rules.freeze == "token-stability":
            return self.stable[place] > rules.depth // rules.recurrences
        move = states[-1] - states[-2]
        if rules.freeze == "latent-acceleration" and len(states) > 2:
            move = move - (states[-2] - states[-3])
        elif rules.freeze != "latent-diff":
            return False
        return bool(move.norm() / states[-1].norm() < rules.tolerance)

    def final(self, settled):
        """How many positions of the wavefront are final."""
        if self.rules.contiguous:
            return [*settled, False].index(False)
        return max((number + 1 for number, each in enumerate(settled) if each), default=0)
