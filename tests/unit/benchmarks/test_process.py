"""A contestant in a process of its own."""

from __future__ import annotations

import sys

import pytest

from benchmarks.harness.process import ArmProcess

NOISY = """
from benchmarks.harness.serving import serve

def piece(index):
    print("a peer talks")
    return index

print("before the start too")
serve(piece, {"parameters": 5})
"""

ON_A_DEVICE = """
from benchmarks.harness.serving import serve

class Device:
    calls = 0
    def start(self): self.calls += 1
    def stop(self): return 10.0 * self.calls
    def peak_bytes(self): return 99

serve(lambda index: 1.0, {}, Device())
"""


def test_a_process_tells_facts_and_does_pieces_of_work_while_it_prints_what_it_likes(
    capfd: pytest.CaptureFixture[str],
) -> None:
    quiet = NOISY.replace('print("before the start too")', "")
    arm = ArmProcess("noisy", [sys.executable, "-c", quiet])
    assert arm.facts == {"parameters": 5}
    block = arm.run(3, 4)
    arm.close()
    assert block.work == 3 + 4 + 5 + 6
    assert block.seconds > 0
    assert block.device_seconds == 0
    assert arm.facts["peak_bytes"] != 0
    assert "a peer talks" in capfd.readouterr().err


def test_a_device_is_asked_for_its_own_time_and_memory() -> None:
    arm = ArmProcess("device", [sys.executable, "-c", ON_A_DEVICE])
    assert [arm.run(0, 2).device_seconds, arm.run(2, 2).device_seconds] == [10.0, 20.0]
    arm.close()
    assert arm.facts["peak_bytes"] == 99


def test_a_process_that_ends_is_named() -> None:
    with pytest.raises(SystemExit, match="The arm broken ended with status 3"):
        ArmProcess("broken", [sys.executable, "-c", "raise SystemExit(3)"])
