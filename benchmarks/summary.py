"""The table and the plot of docs/benchmarks.md, made of the JSON files of benchmarks/results/.

    python -m benchmarks.summary          # needs matplotlib: pip install 'seqtrain[bench]'

Of several results of one benchmark on one machine the newest counts: their names end in the machine and the date. A
result without claims is left out.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.facts import CHECKOUT, machine_name
from benchmarks.harness.report import RESULTS, machine_slug

PAGE = CHECKOUT / "docs" / "benchmarks.md"
PLOT = CHECKOUT / "docs" / "benchmarks.svg"
BEGIN, END = "<!-- made by benchmarks.summary: begin -->", "<!-- made by benchmarks.summary: end -->"

_DATED = re.compile(r"(?P<name>.+)-(?P<date>\d{4}-\d{2}-\d{2})")


@dataclass(frozen=True)
class Line:
    """One claim of one result.

    Attributes:
        interval: Median, lower and upper bound.
        bar: 0 if there is none.
    """

    benchmark: str
    machine: str
    date: str
    statement: str
    interval: tuple[float, float, float]
    bar: float
    verdict: str


def newest(paths: Sequence[Path]) -> dict[str, tuple[str, Path]]:
    """The latest of the dated files of each benchmark: its date and path by the benchmark's name."""
    found: dict[str, tuple[str, Path]] = {}
    for path in paths:
        match = _DATED.fullmatch(path.stem)
        if match is not None:
            found[match["name"]] = max(found.get(match["name"], ("", path)), (match["date"], path))
    return dict(sorted(found.items()))


def read_lines(folder: Path) -> list[Line]:
    """All claims of the newest results in a folder."""
    lines = []
    for name, (date, path) in newest(list(folder.glob("*.json"))).items():
        record = json.loads(path.read_text(encoding="utf-8"))
        facts = record.get("facts", record)
        benchmark = name.removesuffix(f"-{machine_slug(facts)}")
        for claim in record.get("claims", []):
            median, low, high = claim["interval"]
            verdict = claim["verdict"] if record.get("is_finished", True) else f"unfinished, {claim['verdict']}"
            interval = (median, low, high)
            machine = machine_name(facts)
            lines.append(Line(benchmark, machine, date, claim["statement"], interval, claim["bar"], verdict))
    return lines


def summary_table(lines: Sequence[Line]) -> str:
    """Markdown."""
    rows = [
        f"| {line.benchmark} | {line.machine} | {line.date} | {line.statement} | "
        f"{line.interval[0]:.2f} [{line.interval[1]:.2f}, {line.interval[2]:.2f}] | "
        f"{f'{line.bar:g}' if line.bar else ''} | {line.verdict} |"
        for line in lines
    ]
    head = ["| benchmark | machine | date | ratio | median [95 %] | bar | |", "|---|---|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


def with_table(page: str, table: str) -> str:
    """The page, with what stands between its two marks replaced."""
    before, after = page.split(BEGIN, maxsplit=1)[0], page.split(END)[1]
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def plot(lines: Sequence[Line], path: Path) -> None:
    """Draw each ratio with its interval, and its bar as a red mark."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "seqtrain"  # the same figures make the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 1 + 0.4 * len(lines)), layout="constrained")
    for height, line in enumerate(reversed(lines)):
        median, low, high = line.interval
        axes.barh(height, median, color="#4c72b0", height=0.6)
        axes.errorbar(median, height, xerr=[[median - low], [high - median]], color="black", capsize=3)
        if line.bar:
            axes.plot([line.bar, line.bar], [height - 0.4, height + 0.4], color="#c44e52", linewidth=2)
    axes.axvline(1.0, color="black", linewidth=0.8)
    names = [f"{line.benchmark}, {line.machine}: {line.statement}" for line in reversed(lines)]
    axes.set_yticks(range(len(lines)), names)
    axes.set_xlabel("times as fast (95 % interval; red: what it is held to)")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--plot", type=Path, default=PLOT)
    options = parser.parse_args()
    lines = read_lines(options.results)
    options.page.write_text(with_table(options.page.read_text(encoding="utf-8"), summary_table(lines)), "utf-8")
    plot(lines, options.plot)
    print(f"{len(lines)} ratios in {options.page} and {options.plot}")


if __name__ == "__main__":
    main()
