"""Where an update's time went, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from seqtrain.models.base import TokenCounts
from seqtrain.training.stopwatch import Phase
from seqtrain.training.utilization import Utilization

__all__ = ["Breakdown"]

_PHASES = (Phase.data, Phase.host, Phase.forward, Phase.backward, Phase.communication, Phase.optimizer)


@dataclass(frozen=True)
class Breakdown:
    """What some updates took.

    Attributes:
        num_updates: How many.
        counts: Of the tokens of this process.
        host: Seconds of each phase by the host's clock.
        device: Seconds of each phase on the GPU; None on the CPU.
        utilization: Of the model; None where the peak is not known.
    """

    num_updates: int
    counts: TokenCounts
    host: Mapping[Phase, float]
    device: Mapping[Phase, float] | None = None
    utilization: Utilization | None = None

    @property
    def seconds(self) -> float:
        """Of all updates; what lies between them, such as a validation, is left out."""
        times = self.host if self.device is None else self.device
        return sum(times.get(phase, 0.0) for phase in _PHASES)

    def table(self) -> str:
        """A line a phase, with its mean time in an update and its share, and a line about speed."""
        seconds = max(self.seconds, 1e-9)
        columns = [self.host] if self.device is None else [self.device, self.host]
        heads = ["an update"] if self.device is None else ["on the GPU", "on the host"]
        lines = [f"  {'':<13}" + "".join(f"{head:>14}" for head in heads) + f"{'share':>9}"]
        for phase in _PHASES:
            shown = "".join(f"{self._milliseconds(times.get(phase, 0.0)):>14}" for times in columns)
            lines.append(f"  {phase.value:<13}{shown}{columns[0].get(phase, 0.0) / seconds:>9.1%}")
        whole = "".join(
            f"{self._milliseconds(sum(times.get(phase, 0.0) for phase in _PHASES)):>14}" for times in columns
        )
        return "\n".join([*lines, f"  {'all':<13}{whole}{1:>9.1%}", f"  {self.speed()}"])

    def speed(self) -> str:
        """Tokens a second, and the share of the machine's peak where that is known."""
        seconds = max(self.seconds, 1e-9)
        text = f"{self.counts.num_target_tokens / seconds:,.0f} target tokens a second"
        if self.counts.num_source_tokens:
            text += f" and {self.counts.num_source_tokens / seconds:,.0f} source tokens"
        if self.utilization is not None:
            share = self.utilization.of(self.counts, seconds)
            text += f"; model-FLOPs utilization {share:.1%} of {self.utilization.peak / 1e12:,.3g} TFLOP/s"
        return text

    def _milliseconds(self, seconds: float) -> str:
        return f"{1000 * seconds / max(1, self.num_updates):,.2f} ms"
