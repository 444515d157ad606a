"""Tables and records."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.harness.contest import Block, Rounds
from benchmarks.harness.report import rounds_of, rounds_record, table, write_results

ROUNDS = Rounds(
    {
        "fast": [Block(1.0, 2.0, 3000.0, 0.5, (0.2, 0.2)), Block(1.0, 2.0, 3000.0, 0.5, (0.2, 0.3))],
        "slow": [Block(2.0, 4.0, 3000.0, 0.5, (0.2, 0.2)), Block(2.0, 4.0, 3000.0, 0.5, (0.2, 0.2))],
    },
    "cpu",
)


def test_rounds_come_back_from_their_record() -> None:
    assert rounds_of(json.loads(json.dumps(rounds_record(ROUNDS)))) == ROUNDS


def test_a_row_has_the_speed_and_the_ratios() -> None:
    head, _, fast, slow = table(ROUNDS, "slow", unit="tokens").splitlines()
    assert head.startswith("| arm | tokens/s, median | ratio to slow, median [95 %]")
    assert fast == "| fast | 1,500 | 2.00 [2.00, 2.00] | 2.00 |"
    assert slow == "| slow | 750 | 1.00 [1.00, 1.00] | 1.00 |"


def test_results_are_a_page_and_the_record_beside_it(tmp_path: Path) -> None:
    write_results(tmp_path / "new" / "a-2026-01-02.md", "Title", ["one", "two"], {"cores": 2})
    assert (tmp_path / "new" / "a-2026-01-02.md").read_text() == "# Title\n\none\n\ntwo\n"
    assert json.loads((tmp_path / "new" / "a-2026-01-02.json").read_text()) == {"cores": 2}


def test_results_of_a_benchmark_that_still_runs_say_so_and_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a-2026-01-02.md"
    write_results(path, "Title", ["one"], {"cores": 2}, is_finished=False)
    assert "**Unfinished**" in path.read_text()
    assert json.loads(path.with_suffix(".json").read_text()) == {"cores": 2, "is_finished": False}
    write_results(path, "Title", ["one"], {"cores": 2})
    assert path.read_text() == "# Title\n\none\n"
    assert sorted(tmp_path.iterdir()) == [path.with_suffix(".json"), path]
