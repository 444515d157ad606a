"""Claims against rounds."""

from __future__ import annotations

import pytest

from benchmarks.harness.claims import (
    AGAIN,
    LEAST_ROUNDS,
    Claim,
    are_enough,
    claims_record,
    claims_table,
    same_arm_report,
    watched,
)
from benchmarks.harness.contest import Block, Rounds


def rounds_of_ratios(*ratios: float, num_unsteady: int = 0) -> Rounds:
    """Rounds in which `ours` was so many times as fast as `peer`; the probes of the first ones differ by half."""
    probes = [(1.0, 1.5 if number < num_unsteady else 1.0) for number in range(len(ratios))]
    blocks = {
        "ours": [Block(1.0, 1.0, ratio, probes=pair) for ratio, pair in zip(ratios, probes, strict=True)],
        "peer": [Block(1.0, 1.0, 1.0, probes=(1.0, 1.0)) for _ in ratios],
    }
    return Rounds(blocks)


@pytest.mark.parametrize(
    ("bar", "verdict"),
    [(1.5, "shown"), (1.9, "not shown"), (2.0, "not shown"), (2.2, "missed"), (0.0, "")],
)
def test_a_claim_is_shown_when_the_whole_interval_lies_above_its_bar(bar: float, verdict: str) -> None:
    rounds = rounds_of_ratios(1.8, 2.0, 2.1)  # of three values, the bounds are the first and the last
    assert Claim("ours / peer", "ours", "peer", bar).verdict(rounds) == verdict


def test_a_claim_needs_the_best_blocks_to_agree() -> None:
    rounds = rounds_of_ratios(2.0, 2.0, 2.0, 2.0)
    rounds.blocks["peer"].append(Block(1.0, 1.0, 1.8))
    rounds.blocks["ours"].append(Block(1.0, 1.0, 2.0))
    assert rounds.interval("ours", "peer").median == 2.0
    assert Claim("ours / peer", "ours", "peer", 1.05).verdict(rounds) == "shown"
    assert Claim("ours / peer", "ours", "peer", 1.5).verdict(rounds) == "not shown"


def test_a_table_states_how_many_rounds_there_were_and_how_many_of_them_were_steady() -> None:
    rounds = rounds_of_ratios(2.0, 2.0, 2.0, 2.0, num_unsteady=1)
    row = claims_table(rounds, [Claim("ours / peer", "ours", "peer", 1.5)]).splitlines()[-1]
    assert row == "| ours / peer | 2.00 [2.00, 2.00] | 2.00 | 1.5 | shown | 4 | 2.00 [2.00, 2.00] (3) |"


def test_a_record_has_the_interval_and_none_of_steady_rounds_where_there_were_none() -> None:
    claim = Claim("ours / peer", "ours", "peer", 1.5)
    (told,) = claims_record(rounds_of_ratios(2.0, 2.0), [claim])
    assert (told["interval"], told["steady_interval"], told["verdict"]) == ([2.0, 2.0, 2.0], [2.0, 2.0, 2.0], "shown")
    (told,) = claims_record(rounds_of_ratios(2.0, num_unsteady=1), [claim])
    assert (told["interval"], told["steady_interval"], told["num_steady"]) == ([2.0, 2.0, 2.0], None, 0)


@pytest.mark.parametrize(
    ("ratios", "told"),
    [
        (
            [0.99, 1.01] * 10,
            "contains 1; its width is 2.0% (4% at most), of 20 rounds (20 at least). The session is valid.",
        ),
        (
            [0.99, 1.01] * 9,
            "contains 1; its width is 2.0% (4% at most), of 18 rounds (20 at least). The session is void.",
        ),
        (
            [0.9, 1.1] * 10,
            "contains 1; its width is 20.0% (4% at most), of 20 rounds (20 at least). The session is void.",
        ),
        (
            [1.01, 1.02] * 10,
            "does not contain 1; its width is 1.0% (4% at most), of 20 rounds (20 at least). The session is void.",
        ),
    ],
)
def test_the_same_arm_twice_must_tie_narrowly_and_often(ratios: list[float], told: str) -> None:
    assert same_arm_report(rounds_of_same_arm(*ratios), "peer").endswith(told)


def rounds_of_same_arm(*ratios: float) -> Rounds:
    """Those of `rounds_of_ratios`, with `ours` as a second `peer` too."""
    rounds = rounds_of_ratios(*ratios)
    return Rounds({**rounds.blocks, "peer" + AGAIN: rounds.blocks["ours"]})


def test_a_claim_is_void_where_the_same_arm_twice_does_not_tie() -> None:
    claim = Claim("ours / peer", "ours", "peer", 0.5)
    assert claim.verdict(rounds_of_same_arm(*[0.9, 1.1] * 10)) == "void: A/A"
    assert claim.verdict(rounds_of_same_arm(*[0.99, 1.01] * 9)) == "void: A/A"
    assert claim.verdict(rounds_of_same_arm(*[0.99, 1.01] * 10)) == "shown"


@pytest.mark.parametrize(
    ("ratios", "is_enough"),
    [
        ([1.0] * LEAST_ROUNDS, True),
        ([1.0] * (LEAST_ROUNDS - 1), False),
        ([1.5] * LEAST_ROUNDS, True),  # what is known is known, whatever it is
        ([0.9, 1.1] * LEAST_ROUNDS, False),
    ],
)
def test_rounds_are_enough_when_the_same_arm_twice_is_known_narrowly(ratios: list[float], is_enough: bool) -> None:
    assert are_enough(rounds_of_same_arm(*ratios)) is is_enough


def test_rounds_are_kept_as_they_come_and_the_width_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    kept: list[Rounds] = []
    watch = watched(kept.append)
    few, many = rounds_of_same_arm(0.9, 1.1), rounds_of_same_arm(*[0.99, 1.01] * 10)
    assert [watch(few), watch(many)] == [False, True]
    assert kept == [few, many]
    assert capsys.readouterr().err == "2 rounds, A/A 20.0% wide\n20 rounds, A/A 2.0% wide\n"
