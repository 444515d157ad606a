"""The table of a profile, as whole text."""

from __future__ import annotations

from seqtrain.models.base import TokenCounts
from seqtrain.testing.fakes import TinyModel, TinyTask
from seqtrain.training.breakdown import Breakdown
from seqtrain.training.stopwatch import Phase
from seqtrain.training.utilization import Utilization

HOST = {Phase.data: 0.1, Phase.host: 0.1, Phase.forward: 0.8, Phase.backward: 0.9, Phase.optimizer: 0.1}


def test_times_are_means_with_their_shares() -> None:
    found = Breakdown(num_updates=10, counts=TokenCounts(0, 3000, 100), host=HOST)
    assert (
        found.table()
        == """\
                    an update    share
  data wait          10.00 ms     5.0%
  host               10.00 ms     5.0%
  forward            80.00 ms    40.0%
  backward           90.00 ms    45.0%
  communication       0.00 ms     0.0%
  optimizer          10.00 ms     5.0%
  all               200.00 ms   100.0%
  1,500 target tokens a second"""
    )


def test_what_lies_between_updates_is_left_out() -> None:
    times = {**HOST, Phase.validation: 100.0, Phase.checkpoint: 100.0}
    assert Breakdown(num_updates=10, counts=TokenCounts(0, 3000, 100), host=times).seconds == sum(HOST.values())


def test_a_gpu_has_its_times_before_those_of_the_host() -> None:
    device = {Phase.forward: 1.0, Phase.backward: 3.0}
    found = Breakdown(num_updates=10, counts=TokenCounts(4000, 8000, 100), host=HOST, device=device)
    lines = found.table().splitlines()
    assert lines[0] == "                   on the GPU   on the host    share"
    assert lines[3] == "  forward           100.00 ms      80.00 ms    25.0%"
    assert lines[-1] == "  2,000 target tokens a second and 1,000 source tokens"


def test_the_share_of_the_peak_is_told_where_it_is_known() -> None:
    model = TinyModel(TinyTask(num_letters=8), width=8)  # an output layer of 96 weights
    used = 6 * 96 * 3000
    utilization = Utilization(model, peak=used / 2 * 4)  # in 2 seconds, a quarter of the peak
    found = Breakdown(num_updates=10, counts=TokenCounts(0, 3000, 100), host=HOST, utilization=utilization)
    assert found.speed() == "1,500 target tokens a second; model-FLOPs utilization 25.0% of 3.46e-06 TFLOP/s"


def test_updates_that_took_no_time_are_no_error() -> None:
    assert Breakdown(num_updates=0, counts=TokenCounts(0, 0, 0), host={}).table()
