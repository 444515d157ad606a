"""Who trains against whom."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from benchmarks.harness import environments
from benchmarks.harness.process import ArmProcess
from benchmarks.training.settings import Form, Settings

MAX_PARAMETER_CHANGE = 0.01


@dataclass(frozen=True)
class Contestant:
    """A system that trains.

    Attributes:
        name: For readers.
        module: Of `benchmarks.training.peers`.
        environment: The requirements it needs, see `harness.environments`; none for this process's own Python.
        is_compiled: Whether torch.compile is used for it.
        is_for_cuda: Whether it makes sense on a GPU alone.
        form: See `Settings`.
    """

    name: str
    module: str
    environment: str | None = None
    is_compiled: bool = False
    is_for_cuda: bool = False
    form: Form = "padded"

    def start(self, settings: Settings, label: str) -> ArmProcess:
        """Its process, which has checked that its model is as large as the shape says."""
        python = sys.executable if self.environment is None else str(environments.python(self.environment))
        told = replace(settings, arm=self.module, is_compiled=self.is_compiled, form=self.form)
        arm = ArmProcess(label, [python, "-m", "benchmarks.training.arm", told.to_text()])
        expected, found = settings.shape.num_parameters, arm.facts["parameters"]
        assert isinstance(found, int)
        if abs(found / expected - 1) > MAX_PARAMETER_CHANGE:
            arm.close()
            raise SystemExit(f"{label} has {found:,} parameters, not {expected:,}.")
        return arm


OURS = Contestant("seqtrain", "seqtrain_model")
OURS_WITH_KERNELS = replace(OURS, name="seqtrain compiled", is_compiled=True)
OURS_ON_CUDA = Contestant("seqtrain compiled", "seqtrain_model", is_compiled=True, is_for_cuda=True)
OURS_PACKED = (
    replace(OURS_ON_CUDA, name="seqtrain packed", form="packed-varlen"),
    replace(OURS_ON_CUDA, name="seqtrain packed sdpa", form="packed-sdpa"),
)

TRANSLATORS = (
    Contestant("torch.nn.Transformer", "plain_transformer"),
    Contestant("torch.nn.Transformer compiled", "plain_transformer", is_compiled=True, is_for_cuda=True),
    Contestant("Hugging Face Marian", "marian", environment="transformers"),
    Contestant("JoeyNMT", "joey", environment="joeynmt"),
    Contestant("eole", "eole_nmt", environment="eole"),
)
LANGUAGE_MODELS = (
    Contestant("GPT-2 loop", "plain_gpt"),
    Contestant("GPT-2 loop compiled", "plain_gpt", is_compiled=True, is_for_cuda=True),
)


def ours_of(settings: Settings) -> list[Contestant]:
    """The forms of seqtrain that such a model can be trained in on such a device, of which the fastest counts."""
    if settings.device == "cpu":
        return [OURS, OURS_WITH_KERNELS]
    return [OURS_ON_CUDA] if settings.shape.is_decoder_only else [OURS_ON_CUDA, *OURS_PACKED]


def peers_of(settings: Settings, names: Sequence[str] = ()) -> list[Contestant]:
    """The peers that train such a model on such a device; of those, the ones named, if any are.

    Raises:
        SystemExit: None of them has such a name.
    """
    everyone = LANGUAGE_MODELS if settings.shape.is_decoder_only else TRANSLATORS
    possible = [peer for peer in everyone if settings.device == "cuda" or not peer.is_for_cuda]
    chosen = [peer for peer in possible if not names or peer.name in names]
    if not chosen:
        known = ", ".join(peer.name for peer in possible)
        raise SystemExit(f"No peer is called {' or '.join(names)}; there are {known}.")
    return chosen


@contextmanager
def running(entries: Sequence[tuple[str, Contestant, Settings]]) -> Iterator[list[ArmProcess]]:
    """The processes of labelled contestants, which end with the block."""
    arms: list[ArmProcess] = []
    try:
        for label, contestant, settings in entries:
            arms.append(contestant.start(settings, label))
        yield arms
    finally:
        for arm in arms:
            arm.close()
