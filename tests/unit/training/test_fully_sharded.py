"""Fully sharded training computes what one process computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from seqtrain.config.root import BatchingConfig
from seqtrain.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropy, LabelSmoothedCrossEntropyConfig
from seqtrain.data.batch import Batch
from seqtrain.data.dataset import IterationOptions
from seqtrain.errors import ConfigError
from seqtrain.models.base import Model
from seqtrain.models.transformer.model import Transformer
from seqtrain.models.transformer.schema import TransformerConfig
from seqtrain.testing.fakes import TinyModel, TinyTask
from seqtrain.training.distributed import Processes, SingleProcess
from seqtrain.training.metrics import MetricSums
from seqtrain.training.precision import MixedPrecision
from seqtrain.training.randomness import seed_everything
from seqtrain.training.reduction import LocalSum
from seqtrain.training.shards import is_sharded, local_part, whole_parameters
from seqtrain.training.step import Learner, TrainableModule, UpdateOptions, run_update
from seqtrain.training.weights import load_named_tensors, named_tensors
from tests.unit.training.processes import joined_processes, run_in_processes

CPU = torch.device("cpu")
MICRO_BATCHES = 6
NUM_EXAMPLES = 13  # the last update has one micro-batch, and fillers beside it


class TiedModel(TinyModel):
    """Lists of layers, of which one shares its weight with the output layer."""

    def __init__(self, task: TinyTask) -> None:
        super().__init__(task)
        self.layers = nn.ModuleList(
            [nn.Sequential(nn.Linear(8, 8), nn.Tanh()), nn.Linear(8, len(task.target_vocabulary), bias=False)]
        )
        self.output = self.layers[1]  # type: ignore[assignment]

    def features(self, source_tokens: Tensor, source_lengths: Tensor, previous_tokens: Tensor) -> Tensor:
        x: Tensor = self.layers[0](super().features(source_tokens, source_lengths, previous_tokens))
        return x + x @ self.output.weight.t() @ self.output.weight


def make_model(name: str, task: TinyTask) -> Model:
    if name == "no units":
        return TinyModel(task)
    if name == "tied unit":
        return TiedModel(task)
    sizes: Any = {
        f"{side}_{size}": value
        for side in ("encoder", "decoder")
        for size, value in {"embed_dim": 16, "ffn_embed_dim": 24, "attention_heads": 2, "layers": 2}.items()
    }
    return Transformer(TransformerConfig(**sizes, dropout=0.1, share_all_embeddings=True), task)


def make_learner(name: str, processes: Processes, dtype: torch.dtype = torch.float32) -> Learner:
    seed_everything(1, "weights")
    task = TinyTask(num_examples=NUM_EXAMPLES)
    criterion = LabelSmoothedCrossEntropy(LabelSmoothedCrossEntropyConfig(label_smoothing=0.1), task)
    module = TrainableModule(make_model(name, task), criterion)
    reduction: Any = LocalSum(module)
    if processes.world_size > 1:
        from seqtrain.training.fully_sharded import FullySharded

        reduction = FullySharded(module, processes, CPU)
    return Learner(
        task=task,
        module=module,
        optimizer=torch.optim.SGD(module.parameters(), lr=0.1),
        precision=MixedPrecision(dtype, CPU),
        reduction=reduction,
        processes=processes,
        device=CPU,
    )


@dataclass
class Facts:
    """What a training of three updates shows.

    Attributes:
        initial: The weights at first.
        gradients: Those of the last update.
        trained: The weights in the end.
        norms: Of each update's gradient.
    """

    initial: dict[str, Tensor]
    gradients: dict[str, Tensor]
    trained: dict[str, Tensor]
    norms: list[float]


def train(learner: Learner) -> Facts:
    processes, norms = learner.processes, []
    initial = whole(dict(learner.module.named_parameters()))
    options = IterationOptions(
        batching=BatchingConfig(max_sentences=1, max_tokens=None, required_batch_size_multiple=1),
        max_positions=(99, 99),
        update_freq=MICRO_BATCHES // processes.world_size,
        rank=processes.rank,
        world_size=processes.world_size,
    )
    for number, batches in enumerate(learner.task.get_batch_iterator(learner.task.dataset("train"), options)):
        sums, settings = MetricSums(), UpdateOptions(clip_norm=0.5, seed=1)
        run_update(learner, batches, sums, options=settings, first_batch=(1, number * MICRO_BATCHES))
        norms.append(sums.read().get("grad_norm", 0.0))
    parameters = dict(learner.module.named_parameters())
    gradients = {name: value.grad for name, value in parameters.items() if value.grad is not None}
    return Facts(initial, whole(gradients), whole(parameters), norms)


def whole(tensors: dict[str, Any]) -> dict[str, Tensor]:
    return {
        name: (tensor.full_tensor() if is_sharded(tensor) else tensor).detach().clone()
        for name, tensor in tensors.items()
    }


class Traffic(TorchDispatchMode):
    """Counts what sums gradients and shares them out."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch's own has no annotations
        self.num_scattered = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.num_scattered += "reduce_scatter" in str(func)
        return func(*args, **(kwargs or {}))


@dataclass
class Sharding:
    """How a model was shared out: its units, its parameters' numbers and how many of them are in this process.

    Attributes:
        num_scattered: The reduce-scatters with each of two micro-batches.
    """

    units: list[str]
    num_numbers: int
    num_here: int
    num_scattered: list[int]


def look_at_sharding(processes: Processes) -> Sharding:
    from torch.distributed.fsdp import FSDPModule

    learner = make_learner("transformer", processes)
    batch: Batch = learner.task.dataset("train").collate(torch.arange(4).numpy())
    num_scattered = []
    for is_last in (False, True):
        with Traffic() as traffic, learner.reduction.micro_batch(batch, is_last=is_last):
            learner.training_loss(learner.module.model, batch).loss_sum.backward()
        num_scattered.append(traffic.num_scattered)
    parameters = list(learner.module.parameters())
    return Sharding(
        units=[name for name, module in learner.module.named_modules() if isinstance(module, FSDPModule)],
        num_numbers=sum(parameter.numel() for parameter in parameters),
        num_here=sum(local_part(parameter).numel() for parameter in parameters),
        num_scattered=num_scattered,
    )


@dataclass
class Search:
    """What was seen around a use of the model outside of its forward, and the gradients of a training after it."""

    was_sharded: list[bool]
    best: list[int]
    gradients: dict[str, Tensor]


def search(processes: Processes) -> Search:
    """Rank 0 searches once, rank 1 three times."""
    learner = make_learner("transformer", processes)
    model: Any = learner.module.eval().model
    batch: Batch = learner.task.dataset("train").collate(torch.arange(4).numpy())
    with torch.no_grad():
        learner.loss(model, batch)
        was_sharded = [all(is_sharded(value) for value in learner.module.parameters())]
        with whole_parameters(learner.module):
            for _ in range(1 + 2 * processes.rank):
                cache = model.init_cache(model.encode(batch.source_tokens, batch.source_lengths), 2)
                logits: Tensor = model.decode_step(torch.full((8,), learner.task.target_vocabulary.eos), cache)
        was_sharded.append(all(is_sharded(value) for value in learner.module.parameters()))
    learner.module.train()
    return Search(was_sharded, logits.argmax(dim=1).tolist(), train(learner).gradients)


TRAININGS = [
    ("transformer", torch.float32),
    ("transformer", torch.bfloat16),
    ("no units", torch.float16),
    ("tied unit", torch.float32),
]


def refusal(processes: Processes) -> str:
    """The message about a parameter that cannot be shared out."""
    from seqtrain.training.fully_sharded import FullySharded

    task = TinyTask()
    model = TinyModel(task)
    model.temperature = nn.Parameter(torch.ones(()))
    module = TrainableModule(model, LabelSmoothedCrossEntropy(LabelSmoothedCrossEntropyConfig(), task))
    with pytest.raises(ConfigError) as caught:
        FullySharded(module, processes, CPU)
    return str(caught.value)


def loaded_weights(processes: Processes) -> dict[str, Tensor]:
    """The weights after whole ones were copied into a sharded model."""
    model = make_learner("transformer", processes).module.model
    load_named_tensors(model, whole_weights(), origin="a checkpoint")
    return whole(named_tensors(model))


def whole_weights() -> dict[str, Tensor]:
    weights = named_tensors(make_model("transformer", TinyTask()))
    return {name: torch.arange(float(tensor.numel())).view_as(tensor) for name, tensor in weights.items()}


@dataclass
class Answer:
    """Of one process."""

    trainings: list[Facts]
    sharding: Sharding
    search: Search
    loaded: dict[str, Tensor]
    refusal: str


def answer() -> Answer:
    with joined_processes() as processes:
        trainings = [train(make_learner(name, processes, dtype)) for name, dtype in TRAININGS]
        sharding, searched = look_at_sharding(processes), search(processes)
        return Answer(trainings, sharding, searched, loaded_weights(processes), refusal(processes))


@pytest.fixture(scope="module", params=[2, 3])
def answers(request: pytest.FixtureRequest) -> list[Answer]:
    return run_in_processes(answer, request.param)


@pytest.mark.parametrize("number", range(len(TRAININGS)), ids=[f"{name}, {dtype}" for name, dtype in TRAININGS])
def test_processes_train_as_one_does(answers: list[Answer], number: int) -> None:
    name, dtype = TRAININGS[number]
    expected = train(make_learner(name, SingleProcess(), dtype))
    rtol, atol = (1e-5, 1e-6) if dtype is torch.float32 else (1e-2, 1e-4)
    for facts in (process.trainings[number] for process in answers):
        assert all(torch.equal(facts.initial[name], value) for name, value in expected.initial.items())
        assert_close(facts.gradients, expected.gradients, rtol=rtol, atol=atol)
        assert_close(facts.trained, expected.trained, rtol=rtol, atol=atol)
    assert answers[0].trainings[number].norms == pytest.approx(expected.norms, rel=rtol)


def test_layers_are_units_and_each_process_has_its_part_of_all_parameters(answers: list[Answer]) -> None:
    layers = [f"model.{side}.layers.{number}" for side in ("encoder", "decoder") for number in (0, 1)]
    assert [process.sharding.units for process in answers] == [["", *layers]] * len(answers)
    assert sum(process.sharding.num_here for process in answers) == answers[0].sharding.num_numbers


def test_gradients_travel_with_the_last_micro_batch_alone(answers: list[Answer]) -> None:
    for process in answers:
        assert process.sharding.num_scattered == [0, len(process.sharding.units)]


def test_a_search_has_the_whole_model_for_as_long_as_each_process_needs(answers: list[Answer]) -> None:
    expected = train(make_learner("transformer", SingleProcess())).gradients
    for process in answers:
        assert process.search.was_sharded == [True, True]
        assert process.search.best == answers[0].search.best
        assert_close(process.search.gradients, expected, rtol=1e-5, atol=1e-6)


def test_whole_weights_are_loaded_into_all_parts(answers: list[Answer]) -> None:
    expected = whole_weights()
    for process in answers:
        assert process.loaded.keys() == expected.keys()
        assert all(torch.equal(process.loaded[name], expected[name]) for name in expected)


def test_a_parameter_without_a_dimension_is_named(answers: list[Answer]) -> None:
    assert "the parameter model.temperature is a single number" in answers[0].refusal


def test_units_are_the_outermost_members_of_lists() -> None:
    model = make_model("no units", TinyTask())
    assert model.sharding_units() == []
    inner = nn.ModuleList([nn.Linear(1, 1)])
    model.blocks = nn.ModuleList([nn.Sequential(inner[0]), nn.ModuleDict({"experts": inner})])
    assert model.sharding_units() == list(model.blocks)
