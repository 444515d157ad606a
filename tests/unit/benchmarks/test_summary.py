"""The page made of results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.harness.facts import machine_name
from benchmarks.harness.report import dated_path
from benchmarks.summary import BEGIN, END, Line, newest, read_lines, summary_table, with_table


def test_of_one_benchmark_the_newest_result_counts() -> None:
    names = ["train-cpu-a-2026-01-02", "train-cpu-a-2026-01-10", "train-cpu-b-2025-01-01", "faults"]
    found = newest([Path(f"{name}.json") for name in names])
    assert found == {
        "train-cpu-a": ("2026-01-10", Path("train-cpu-a-2026-01-10.json")),
        "train-cpu-b": ("2025-01-01", Path("train-cpu-b-2025-01-01.json")),
    }


def test_claims_are_read_and_results_without_any_left_out(tmp_path: Path) -> None:
    claim = {"statement": "a / b", "bar": 1.5, "verdict": "shown", "interval": [2.0, 1.9, 2.1]}
    record = {"cpu": "AMD EPYC", "claims": [claim]}
    (tmp_path / "speed-amd-epyc-2026-01-02.json").write_text(json.dumps(record))
    (tmp_path / "other-2026-01-02.json").write_text("{}")
    assert read_lines(tmp_path) == [Line("speed", "AMD EPYC", "2026-01-02", "a / b", (2.0, 1.9, 2.1), 1.5, "shown")]
    (tmp_path / "speed-amd-epyc-2026-01-02.json").write_text(json.dumps({**record, "is_finished": False}))
    assert [line.verdict for line in read_lines(tmp_path)] == ["unfinished, shown"]


def test_each_machine_has_its_own_lines(tmp_path: Path) -> None:
    claim = {"statement": "a / b", "bar": 1.5, "verdict": "shown", "interval": [2.0, 1.9, 2.1]}
    machines: list[dict[str, object]] = [{"cpu": "AMD EPYC"}, {"cpu": "Intel(R) Xeon(R) Processor", "amx": True}]
    for facts in machines:
        dated_path(tmp_path, "speed", facts).with_suffix(".json").write_text(
            json.dumps({"facts": facts, "claims": [claim]})
        )
    assert [(line.benchmark, line.machine) for line in read_lines(tmp_path)] == [
        ("speed", "AMD EPYC"),
        ("speed", "Intel Xeon AMX"),
    ]


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"cpu": "Intel(R) Xeon(R) Platinum 8488C CPU @ 2.40GHz", "amx": True}, "Intel Xeon Platinum 8488C AMX"),
        ({"cpu": "AMD EPYC", "amx": False, "gpu": "NVIDIA H200"}, "AMD EPYC, NVIDIA H200"),
    ],
)
def test_a_machine_is_called_by_what_decides_its_speed(facts: dict[str, object], name: str) -> None:
    assert machine_name(facts) == name


def test_a_row_has_the_interval_and_the_bar_if_there_is_one() -> None:
    line = Line("speed", "AMD EPYC", "2026-01-02", "a / b", (2.0, 1.9, 2.1), 1.5, "shown")
    assert summary_table([line]).splitlines()[-1] == (
        "| speed | AMD EPYC | 2026-01-02 | a / b | 2.00 [1.90, 2.10] | 1.5 | shown |"
    )


def test_the_rest_of_the_page_stays_as_it_is() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert with_table(page, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert with_table(with_table(page, "new"), "new") == with_table(page, "new")
