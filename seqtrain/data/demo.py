"""A parallel corpus that needs no download: numbers in words, English and German.

Each side is a function of the number alone, so a translation is right or wrong, and which it is can be computed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

LANGUAGES: Final = ("en", "de")
SIZES: Final = {"train": 30_000, "valid": 500, "test": 1_000}
_COUNTS: Final = {(0, 1_000): 1_000, (1_000, 10_000): 3_500, (10_000, 100_000): 9_000, (100_000, 1_000_000): 18_000}
"""How many numbers of each range: short ones are rare among all, and are what people try first."""
_SEED: Final = 1

_EN_SMALL: Final = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_EN_TENS: Final = ["-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_DE_SMALL: Final = [
    "null",
    "ein",
    "zwei",
    "drei",
    "vier",
    "fünf",
    "sechs",
    "sieben",
    "acht",
    "neun",
    "zehn",
    "elf",
    "zwölf",
    "dreizehn",
    "vierzehn",
    "fünfzehn",
    "sechzehn",
    "siebzehn",
    "achtzehn",
    "neunzehn",
]
_DE_TENS: Final = ["-", "-", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig"]


def english(number: int) -> str:
    """The English words of a number below a million: "forty-two", "one thousand two hundred and five"."""
    thousands, rest = divmod(number, 1000)
    words = [f"{_english_hundreds(thousands)} thousand"] if thousands else []
    if rest or not thousands:
        words.append(f"and {_english_hundreds(rest)}" if thousands and rest < 100 else _english_hundreds(rest))
    return " ".join(words)


def german(number: int) -> str:
    """The German word of a number below a million: "zweiundvierzig", "eintausendzweihundertfünf"."""
    thousands, rest = divmod(number, 1000)
    prefix = f"{_german_hundreds(thousands)}tausend" if thousands else ""
    if not rest and thousands:
        return prefix
    word = prefix + _german_hundreds(rest)
    return f"{word}s" if rest % 100 == 1 else word  # "eins" at the end, "ein" before what it counts


def write_corpus(folder: Path) -> None:
    """Write train, valid and test, no number in two of them."""
    random = np.random.default_rng(_SEED)
    drawn = [low + random.choice(high - low, size, replace=False) for (low, high), size in _COUNTS.items()]
    numbers = random.permutation(np.concatenate(drawn)).tolist()
    start = 0
    for split, size in SIZES.items():
        chosen = numbers[start : start + size]
        start += size
        for language, spell in zip(LANGUAGES, (english, german), strict=True):
            text = "".join(f"{spell(number)}\n" for number in chosen)
            (folder / f"{split}.{language}").write_bytes(text.encode())


def _english_hundreds(number: int) -> str:
    """Below a thousand."""
    hundreds, rest = divmod(number, 100)
    if not hundreds:
        return _english_tens(rest)
    return f"{_EN_SMALL[hundreds]} hundred and {_english_tens(rest)}" if rest else f"{_EN_SMALL[hundreds]} hundred"


def _english_tens(number: int) -> str:
    """Below a hundred."""
    if number < 20:
        return _EN_SMALL[number]
    tens, ones = divmod(number, 10)
    return f"{_EN_TENS[tens]}-{_EN_SMALL[ones]}" if ones else _EN_TENS[tens]


def _german_hundreds(number: int) -> str:
    """Below a thousand, with "ein" for a final one."""
    hundreds, rest = divmod(number, 100)
    if not hundreds:
        return _german_tens(rest)
    return f"{_DE_SMALL[hundreds]}hundert{_german_tens(rest) if rest else ''}"


def _german_tens(number: int) -> str:
    """Below a hundred: the ones stand before the tens."""
    if number < 20:
        return _DE_SMALL[number]
    tens, ones = divmod(number, 10)
    return f"{_DE_SMALL[ones]}und{_DE_TENS[tens]}" if ones else _DE_TENS[tens]
