"""Loss spikes: a loss far above what the losses before it let expect.

The usual loss is the median of the last rows, its spread their median absolute deviation (Hampel, 1974): neither is
moved by the spike itself, nor by one before it. A falling loss widens the spread, so that a run is hardly blamed for
the restlessness of its beginning. What is compared are the means that the log shows, of all processes, so nobody waits
for a number, and any number of processes comes to the same finding.
"""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from seqtrain.training.state import TrainState

__all__ = ["UsualRange", "usual_range", "watch_loss"]

logger = logging.getLogger(__name__)

NUM_ROWS = 32
_FEWEST_ROWS = 16  # whose spread says something
_NUM_DEVIATIONS = 8.0
_DEVIATION_OF_NORMAL = 1.4826  # standard deviations of normal noise in its median absolute deviation
_SMALLEST_DEVIATION = 0.005  # of the loss: what is not worth a warning, however quiet the run is


@dataclass(frozen=True)
class UsualRange:
    """Between which losses the next one is expected, in the unit of the rows."""

    lowest: float
    highest: float


def usual_range(losses: Sequence[float]) -> UsualRange | None:
    """What the losses of the last rows let expect: their median, eight robust standard deviations to either side.

    Args:
        losses: The oldest first.

    Returns:
        None where there are too few of them.
    """
    if len(losses) < _FEWEST_ROWS:
        return None
    middle = statistics.median(losses)
    deviation = _DEVIATION_OF_NORMAL * statistics.median(abs(loss - middle) for loss in losses)
    margin = _NUM_DEVIATIONS * max(deviation, _SMALLEST_DEVIATION * abs(middle))
    return UsualRange(middle - margin, middle + margin)


def watch_loss(state: TrainState, loss: float, *, is_first: bool) -> None:
    """Take note of a row's loss, and warn if it is a spike.

    A spike joins the row that the next are compared with: a loss that stays high is usual after half of it.

    Args:
        state: Where the run stands; has the losses of the last rows, and counts spikes.
        loss: Of the updates since the last row; no number where none made a step.
        is_first: Whether this process is the one to warn.
    """
    if not math.isfinite(loss):
        return
    usual = usual_range(state.recent_losses)
    if usual is not None and loss > usual.highest:
        state.num_loss_spikes += 1
        if is_first:
            logger.warning(
                "the loss rose to %.4g at update %d, usual is %.4g to %.4g: see %s",
                loss,
                state.num_updates,
                usual.lowest,
                usual.highest,
                _batches(state),
            )
    state.recent_losses = [*state.recent_losses, loss][-NUM_ROWS:]


def _batches(state: TrainState) -> str:
    """Which batches the row is made of."""
    epoch, batch = state.row_epoch, state.row_batch
    if epoch == state.epoch:
        return f"batches {batch} to {state.next_batch - 1} of epoch {epoch}"
    return f"batches {batch} of epoch {epoch} to {state.next_batch - 1} of epoch {state.epoch}"
