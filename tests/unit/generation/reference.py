"""Beam search as the papers tell it: one sentence, Python lists, no tricks. What the real one is held to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

EOS, PAD, UNK = 2, 1, 3
NextLogProbs = Callable[[tuple[int, ...]], list[float]]


@dataclass(kw_only=True)
class Settings:
    beam_size: int
    max_len: int
    min_len: int = 1
    length_penalty: float = 1.0
    unk_penalty: float = 0.0
    no_repeat_ngram_size: int = 0
    prefix: tuple[int, ...] = field(default=())


def repeats_ngram(text: tuple[int, ...], size: int) -> bool:
    """Whether the last n-gram of a text stands in it before."""
    ngrams = [text[start : start + size] for start in range(len(text) - size + 1)]
    return size > 0 and len(ngrams) > 0 and ngrams[-1] in ngrams[:-1]


def allowed(text: tuple[int, ...], token: int, settings: Settings) -> bool:
    """Whether a token may follow."""
    if len(text) >= settings.max_len:
        return token == EOS
    if len(text) < len(settings.prefix):
        return token == settings.prefix[len(text)]
    if token == EOS:
        return len(text) >= settings.min_len
    return token != PAD and not repeats_ngram((*text, token), settings.no_repeat_ngram_size)


def beam_search(next_log_probs: NextLogProbs, settings: Settings) -> list[tuple[tuple[int, ...], float]]:
    """The hypotheses, the end symbol included, with their scores, best first."""
    live: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    finished: list[tuple[tuple[int, ...], float]] = []
    while live and len(finished) < settings.beam_size:
        candidates = [
            ((*text, token), total + log_prob - (settings.unk_penalty if token == UNK else 0))
            for text, total in live
            for token, log_prob in enumerate(next_log_probs(text))
            if allowed(text, token, settings) and log_prob != float("-inf")
        ]
        candidates.sort(key=lambda candidate: -candidate[1])
        finished += [candidate for candidate in candidates[: settings.beam_size] if candidate[0][-1] == EOS]
        live = [candidate for candidate in candidates if candidate[0][-1] != EOS][: settings.beam_size]
    scored = [(text, total / len(text) ** settings.length_penalty) for text, total in finished[: settings.beam_size]]
    return sorted(scored, key=lambda hypothesis: -hypothesis[1])
