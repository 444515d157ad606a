"""Rounds in which contestants take turns, and the ratios that come of them."""

from __future__ import annotations

import pytest

from benchmarks.harness.contest import Block, Rounds, run_rounds

Call = tuple[str, int, int]


class FakeArm:
    """Does `speed` pieces a second, and writes down what it was asked."""

    def __init__(self, name: str, speed: float, calls: list[Call]) -> None:
        self.name = name
        self._speed = speed
        self._calls = calls

    def run(self, first: int, number: int) -> Block:
        self._calls.append((self.name, first, number))
        return Block(number / self._speed, 2 * number / self._speed, number)


def fake_rounds(*probes: tuple[float, float], slow: float = 2.0) -> Rounds:
    """Rounds of `fast`, whose blocks have these probes, and `slow`, whose blocks have a steady one."""
    return Rounds(
        {
            "fast": [Block(1.0, 1.0, 6.0, probes=pair) for pair in probes],
            "slow": [Block(slow, 1.0, 6.0, probes=(1.0, 1.0)) for _ in probes],
        }
    )


def test_the_order_turns_from_round_to_round() -> None:
    calls: list[Call] = []
    run_rounds([FakeArm("a", 1, calls), FakeArm("b", 1, calls)], num_rounds=3, num_pieces=1, num_warmup=0)
    assert [name for name, _, number in calls if number] == ["a", "b", "b", "a", "a", "b"]


def test_all_arms_do_the_same_pieces_in_a_round_after_the_same_ones_that_do_not_count() -> None:
    calls: list[Call] = []
    arms = [FakeArm("a", 1, calls), FakeArm("b", 3, calls)]
    rounds = run_rounds(arms, num_rounds=2, num_pieces=5, num_warmup=7)
    assert calls == [("a", 0, 7), ("b", 0, 7), ("a", 7, 5), ("b", 7, 5), ("b", 12, 5), ("a", 12, 5)]
    assert len(rounds.blocks["a"]) == 2


def test_the_probe_after_a_block_is_the_one_before_the_next() -> None:
    times = iter([1.0, 2.0, 3.0])
    arms = [FakeArm("a", 1, []), FakeArm("b", 1, [])]
    rounds = run_rounds(arms, num_rounds=1, num_pieces=1, num_warmup=0, probe=lambda: next(times))
    assert rounds.blocks["a"][0].probes == (1.0, 2.0)
    assert rounds.blocks["b"][0].probes == (2.0, 3.0)


def test_a_ratio_compares_the_work_a_second_of_one_round() -> None:
    rounds = fake_rounds((1.0, 1.0), (1.0, 1.0))
    assert rounds.ratios("fast", "slow") == [2.0, 2.0]
    assert rounds.ratios("slow", "fast") == [0.5, 0.5]


@pytest.mark.parametrize(("probe", "is_steady"), [(1.09, True), (1.11, False), (0.92, True), (0.9, False)])
def test_a_round_is_steady_unless_the_probes_of_its_blocks_differ_by_more_than_a_tenth(
    probe: float, is_steady: bool
) -> None:
    rounds = fake_rounds((1.0, 1.0), (1.0, probe))
    assert rounds.steady("fast", "slow") == ([0, 1] if is_steady else [0])
    assert rounds.steady("slow", "fast") == ([0, 1] if is_steady else [0])


def test_without_probes_every_pair_is_steady() -> None:
    rounds = Rounds({"a": [Block(1, 1, 1), Block(9, 9, 1)], "b": [Block(1, 1, 1)] * 2})
    assert rounds.steady("a", "b") == [0, 1]


def test_the_interval_is_of_all_rounds_beside_one_of_the_steady_ones() -> None:
    rounds = fake_rounds((1.0, 2.0))
    assert rounds.interval("fast", "slow").median == 2.0
    assert rounds.steady_interval("fast", "slow") is None


def test_rounds_end_after_as_many_in_one_order_as_in_the_other() -> None:
    arms = [FakeArm("a", 1, []), FakeArm("b", 1, [])]
    rounds = run_rounds(
        arms, num_rounds=9, num_pieces=1, num_warmup=0, are_enough=lambda rounds: len(rounds.blocks["a"]) >= 3
    )
    assert len(rounds.blocks["a"]) == 4


def test_the_processor_clock_counts_the_seconds_of_all_threads() -> None:
    calls: list[Call] = []
    arms = [FakeArm("a", 4.0, calls)]
    rounds = run_rounds(arms, num_rounds=1, num_pieces=8, num_warmup=0, clock="cpu")
    assert rounds.speeds("a") == [2.0]


def test_the_ratio_of_the_best_blocks_leaves_slow_ones_out() -> None:
    blocks = {"a": [Block(1, 1, 4), Block(4, 4, 4)], "b": [Block(2, 2, 4), Block(8, 8, 4)]}
    assert Rounds(blocks).best_ratio("a", "b") == 2.0


def test_the_fastest_has_the_highest_median_and_not_the_best_block() -> None:
    blocks = {"steady": [Block(1, 1, 3)] * 3, "lucky": [Block(1, 1, 9), Block(1, 1, 1), Block(1, 1, 1)]}
    assert Rounds(blocks).fastest(["steady", "lucky"]) == "steady"
