"""Numbers in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqtrain.data.demo import SIZES, english, german, write_corpus

NUMBERS = st.integers(0, 999_999)


@pytest.mark.parametrize(
    ("number", "in_english", "in_german"),
    [
        (0, "zero", "null"),
        (1, "one", "eins"),
        (6, "six", "sechs"),
        (7, "seven", "sieben"),
        (10, "ten", "zehn"),
        (12, "twelve", "zwölf"),
        (16, "sixteen", "sechzehn"),
        (17, "seventeen", "siebzehn"),
        (20, "twenty", "zwanzig"),
        (21, "twenty-one", "einundzwanzig"),
        (30, "thirty", "dreißig"),
        (42, "forty-two", "zweiundvierzig"),
        (66, "sixty-six", "sechsundsechzig"),
        (77, "seventy-seven", "siebenundsiebzig"),
        (100, "one hundred", "einhundert"),
        (101, "one hundred and one", "einhunderteins"),
        (110, "one hundred and ten", "einhundertzehn"),
        (999, "nine hundred and ninety-nine", "neunhundertneunundneunzig"),
        (1_000, "one thousand", "eintausend"),
        (1_001, "one thousand and one", "eintausendeins"),
        (1_234, "one thousand two hundred and thirty-four", "eintausendzweihundertvierunddreißig"),
        (2_100, "two thousand one hundred", "zweitausendeinhundert"),
        (11_011, "eleven thousand and eleven", "elftausendelf"),
        (21_000, "twenty-one thousand", "einundzwanzigtausend"),
        (101_000, "one hundred and one thousand", "einhunderteintausend"),
        (
            555_821,
            "five hundred and fifty-five thousand eight hundred and twenty-one",
            "fünfhundertfünfundfünfzigtausendachthunderteinundzwanzig",
        ),
    ],
)
def test_numbers_in_words(number: int, in_english: str, in_german: str) -> None:
    assert english(number) == in_english
    assert german(number) == in_german


@given(first=NUMBERS, second=NUMBERS)
def test_different_numbers_have_different_words(first: int, second: int) -> None:
    assert (english(first) == english(second)) == (first == second)
    assert (german(first) == german(second)) == (first == second)


def test_the_splits_are_parallel_and_share_no_number(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    by_german = {german(number): number for number in range(1_000_000)}
    seen: set[int] = set()
    for split, size in SIZES.items():
        sources = (tmp_path / f"{split}.en").read_text(encoding="utf-8").splitlines()
        targets = (tmp_path / f"{split}.de").read_text(encoding="utf-8").splitlines()
        numbers = [by_german[target] for target in targets]
        assert sources == [english(number) for number in numbers]
        assert len(set(numbers)) == size
        assert seen.isdisjoint(numbers)
        seen.update(numbers)
    assert sum(number < 1_000 for number in seen) == 1_000


def test_the_corpus_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write_corpus(tmp_path / name)
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()
