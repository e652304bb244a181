"""The prices of one model at one time and in one service tier, and the arithmetic on them.

Whole numbers of 1e-12 USD (of 1e-6 USD a million tokens): sums are exact, and a smaller usage never
costs more than a larger one by a rounding error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from batchrun.outcome import Usage

USD = 10**12
"""Units in one USD."""


def units(usd_per_million: Decimal | float) -> int:
    """A price in USD per million as units for one, rounded up."""
    exact = Decimal(str(usd_per_million)) * (USD // 1_000_000)
    return int(exact.to_integral_value(ROUND_CEILING))


@dataclass(frozen=True, slots=True)
class Rate:
    """Units for one token; a prompt of more than `above` tokens pays that step's rate for all its tokens."""

    base: int
    steps: tuple[tuple[int, int], ...] = ()
    """(above, units), ascending."""

    def at(self, prompt: int) -> int:
        """What one token costs in a request of `prompt` prompt tokens."""
        rate = self.base
        for above, dearer in self.steps:
            if prompt > above:
                rate = dearer
        return rate

    def not_below(self, standard: Rate) -> Rate:
        """This rate of a tier, for long prompts never below what standard processing takes.

        Price lists give some tiers one flat rate where standard processing has steps.
        """
        if self.steps or not standard.steps:
            return self
        return Rate(self.base, tuple((above, max(self.base, rate)) for above, rate in standard.steps))


def output_tokens(usage: Usage) -> int | None:
    """Tokens that are billed as output; None where the usage does not say.

    Reasoning is part of `completion_tokens`, but xAI and Gemini leave it out of them and count it in
    the total only.
    """
    if usage.completion_tokens is None:
        return None
    beyond = (usage.total_tokens or 0) - (usage.prompt_tokens or 0)
    return max(usage.completion_tokens, beyond, 0)


@dataclass(frozen=True, slots=True)
class Rates:
    """Units for one token of each kind, and for one request."""

    input: Rate
    cached: Rate
    written: Rate
    """Tokens that the provider writes into its cache."""
    output: Rate
    input_audio: Rate
    cached_audio: Rate
    output_audio: Rate
    request: int = 0
    knows_heard: bool = True
    """Whether the rate of audio in prompts is known: it may be many times that of text."""
    knows_spoken: bool = True
    """The same of audio in answers."""

    @classmethod
    def of(cls, known: Mapping[str, Rate], request: int = 0) -> Rates:
        """Kinds of text without a rate of their own are billed as what they are a part of."""
        audio = known.get("input_audio")
        cached = known.get("cached", known["input"])
        return cls(
            input=known["input"],
            cached=cached,
            written=known.get("written", known["input"]),
            output=known["output"],
            input_audio=audio or known["input"],
            cached_audio=known.get("cached_audio", audio or cached),
            output_audio=known.get("output_audio", known["output"]),
            request=request,
            knows_heard=audio is not None,
            knows_spoken="output_audio" in known,
        )

    def cost(self, usage: Usage, written: int | None, *, writes_unseen: bool) -> int | None:
        """What a call took, in units.

        None without counts of both prompt and answer, and with audio whose rate is not known.

        Cached and spoken tokens are parts of the prompt's, spoken ones of the answer's: each is
        counted once, and a part never exceeds its whole. Usage does not say how many cached tokens
        were audio: the dearer of the two extremes is taken. With `writes_unseen`, what was not read
        from the cache of a prompt long enough for it counts as written to it, unless `written` says.
        """
        output = output_tokens(usage)
        prompt = usage.prompt_tokens
        if output is None or prompt is None or prompt < 0:
            return None
        audio = _part(usage.prompt_audio_tokens, prompt)
        cached = _part(usage.cached_tokens, prompt)
        spoken = _part(usage.completion_audio_tokens, output)
        if (audio and not self.knows_heard) or (spoken and not self.knows_spoken):
            return None
        if written is None:
            dearer = writes_unseen and self.written.at(prompt) > self.input.at(prompt)
            written = prompt if dearer and prompt >= _SHORTEST_CACHED else 0
        heard = (max(0, cached + audio - prompt), min(cached, audio))
        return (
            max(self._prompt(prompt, cached, audio, both, written) for both in heard)
            + (output - spoken) * self.output.at(prompt)
            + spoken * self.output_audio.at(prompt)
            + self.request
        )

    def _prompt(self, prompt: int, cached: int, audio: int, both: int, written: int) -> int:
        """`both`: cached tokens that are audio."""
        fresh = prompt - audio - (cached - both)
        written = min(max(written, 0), fresh)
        return (
            (fresh - written) * self.input.at(prompt)
            + written * self.written.at(prompt)
            + (cached - both) * self.cached.at(prompt)
            + (audio - both) * self.input_audio.at(prompt)
            + both * self.cached_audio.at(prompt)
        )

    def saved(self, usage: Usage) -> int:
        """What cached tokens cost less than if they had not been cached, in units."""
        prompt = max(usage.prompt_tokens or 0, 0)
        cached = _part(usage.cached_tokens, prompt)
        return cached * max(0, self.input.at(prompt) - self.cached.at(prompt))

    def steps(self) -> set[int]:
        """The prompt lengths above which a rate changes."""
        kinds = (self.input, self.cached, self.written, self.output, self.output_audio)
        return {above for rate in kinds for above, _ in rate.steps}

    def dearest(self, prompt: int) -> tuple[int, int]:
        """The dearest token of text in a prompt of so many tokens, and the dearest of its answer."""
        of_prompt = (self.input, self.cached, self.written)
        of_answer = (self.output, self.output_audio)
        return max(r.at(prompt) for r in of_prompt), max(r.at(prompt) for r in of_answer)


_SHORTEST_CACHED = 1024
"""OpenAI, guide on prompt caching: shorter prompts are not cached."""


def _part(count: int | None, whole: int) -> int:
    return min(max(count or 0, 0), whole)
