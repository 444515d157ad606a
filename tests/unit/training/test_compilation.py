"""A compiled loss has few graphs for all shapes, and the value and gradients of the loss as it is written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from seqtrain.criterions.base import LossOutput
from seqtrain.criterions.cross_entropy import CrossEntropy, CrossEntropyConfig
from seqtrain.data.batch import Batch
from seqtrain.models.base import Model
from seqtrain.testing.fakes import TinyFeatureModel, TinyLanguageModel, TinyTask, collate
from seqtrain.training.compilation import CompiledLoss, CompileOptions, compile_parts
from seqtrain.training.reduction import DataParallel
from seqtrain.training.step import TrainableModule
from tests.unit.training.processes import joined_processes, run_in_processes
from tests.unit.training.traced import CountedGraphs, make_batch, make_module, packed_batches

pytestmark = [  # torch._dynamo's own, which elsewhere nobody sees
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]
TASK = TinyTask(num_letters=20, num_examples=100)


@pytest.fixture(autouse=True)
def _no_graphs_of_other_tests() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def graphs() -> CountedGraphs:
    return CountedGraphs()


def gradients(module: nn.Module, loss: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, [parameter for parameter in module.parameters() if parameter.requires_grad])


def test_padded_batches_of_all_shapes_share_two_graphs(graphs: CountedGraphs) -> None:
    module = make_module(TASK)
    compiled = CompiledLoss(module, CompileOptions(graphs, is_one_graph=True))
    compiled(make_batch(TASK, 8, (3, 9)))
    compiled(make_batch(TASK, 4, (3, 3)))
    assert graphs.num_graphs == 2, "one with padding in the sources, one without"
    with torch._dynamo.config.patch(error_on_recompile=True):
        for number, (num_sentences, lengths) in enumerate([(5, (2, 5)), (12, (1, 4)), (2, (5, 15)), (3, (4, 4))]):
            batch = make_batch(TASK, num_sentences, lengths, seed=number)
            output, expected = compiled(batch), module(batch)
            assert_close(output.loss_sum, expected.loss_sum)
            assert_close(output.logs, expected.logs)
            assert output.sample_size == batch.num_tokens


def test_packed_batches_share_one_graph(graphs: CountedGraphs) -> None:
    module = make_module(TASK)
    compiled = CompiledLoss(module, CompileOptions(graphs, is_one_graph=True))
    batches = list(packed_batches(TASK, max_tokens=64))
    assert len({len(batch) for batch in batches}) > 2
    for batch in batches:
        output = compiled(batch)
        assert output.sample_size == batch.num_tokens
        assert_close(output.loss_sum, module(batch).loss_sum)
    assert graphs.num_graphs == 1


def test_compiled_gradients_are_those_of_the_loss_as_written() -> None:
    module = make_module(TASK)
    compiled = CompiledLoss(module, CompileOptions("aot_eager", is_one_graph=True))
    batch = make_batch(TASK, 8, (3, 9))
    assert_close(gradients(module, compiled(batch).loss_sum), gradients(module, module(batch).loss_sum))


def test_dropout_follows_from_the_seed() -> None:
    module = make_module(TASK, dropout=0.5)
    compiled = CompiledLoss(module, CompileOptions("eager", is_one_graph=True))
    batch, losses = make_batch(TASK, 8, (3, 9)), []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        losses.append(compiled(batch).loss_sum.item())
    assert losses[0] == losses[2] != losses[1]


def test_a_batch_of_one_sentence_is_not_compiled(graphs: CountedGraphs) -> None:
    module = tiny_module()
    compiled = CompiledLoss(module, CompileOptions(graphs))
    batch = make_batch(TASK, 1, (3, 3))
    assert_close(compiled(batch).loss_sum, module(batch).loss_sum)
    assert graphs.num_graphs == 0


def test_a_language_model_is_compiled(graphs: CountedGraphs) -> None:
    task = TinyTask(num_examples=20, has_sources=False)
    module = TrainableModule(TinyLanguageModel(task), CrossEntropy(CrossEntropyConfig(), task))
    compiled = CompiledLoss(module, CompileOptions(graphs, is_one_graph=True))
    dataset = task.dataset("train")
    for indices in torch.arange(20).split(7):
        batch = dataset.collate(indices.numpy())
        assert_close(compiled(batch).loss_sum, module(batch).loss_sum)
    assert graphs.num_graphs == 1


def tiny_module() -> TrainableModule:
    return TrainableModule(TinyFeatureModel(TASK), CrossEntropy(CrossEntropyConfig(), TASK)).train()


def test_only_training_passes_are_compiled(graphs: CountedGraphs) -> None:
    module = tiny_module()
    module.compile_training(CompileOptions(graphs, is_one_graph=True))
    batch = make_batch(TASK, 4, (3, 9))
    with torch.no_grad():
        module(batch)
    module.eval()(batch)
    with module.train().uncompiled():
        module(batch)
    assert graphs.num_graphs == 0
    module(batch)
    assert graphs.num_graphs == 1


def test_parameters_keep_their_names() -> None:
    module, plain = tiny_module(), tiny_module()
    module.compile_training(CompileOptions("eager"))
    compile_parts([module.model], CompileOptions("eager"))
    module(make_batch(TASK, 4, (3, 9)))
    assert module.state_dict().keys() == plain.state_dict().keys()


def test_what_cannot_be_traced_runs_between_two_graphs(graphs: CountedGraphs) -> None:
    class Breaking(TinyFeatureModel):
        def features(self, *tokens: Tensor) -> Tensor:
            features = super().features(*tokens)
            torch._dynamo.graph_break()
            return 2 * features

    module = TrainableModule(Breaking(TASK), CrossEntropy(CrossEntropyConfig(), TASK))
    batch = make_batch(TASK, 4, (3, 9))
    expected = module(batch).loss_sum
    module.compile_training(CompileOptions(graphs))
    assert_close(module(batch).loss_sum, expected)
    assert graphs.num_graphs > 1


def test_parts_of_one_kind_share_two_graphs_where_batches_are_packed(graphs: CountedGraphs) -> None:
    """The first layer makes the mask that hides other sentences, and those behind it use it."""
    module = make_module(TASK, num_layers=3)
    batches = list(packed_batches(TASK, max_tokens=128))
    expected = [module(batch).loss_sum for batch in batches]
    compile_parts(module.model.sharding_units(), CompileOptions(graphs, is_one_graph=True))
    assert_close([module(batch).loss_sum for batch in batches], expected)
    assert graphs.num_graphs == 4


def test_hooks_of_a_compiled_part_run_outside_of_its_graph(graphs: CountedGraphs) -> None:
    layer, calls = nn.Linear(2, 2).train(), []
    compile_parts([layer], CompileOptions(graphs, is_one_graph=True))
    layer.register_forward_pre_hook(lambda *_: calls.append(torch.compiler.is_compiling()))
    layer(torch.ones(3, 2))
    assert calls == [False]
    assert graphs.num_graphs == 1


def test_numbers_of_tokens_are_those_of_each_batch() -> None:
    """A criterion may use them in any way: here as a weight."""

    class PerSourceToken(CrossEntropy):
        def __call__(self, model: Model, batch: Batch) -> LossOutput:
            output = super().__call__(model, batch)
            output.logs["per_source_token"] = output.loss_sum / batch.num_source_tokens
            return output

    module = TrainableModule(TinyFeatureModel(TASK), PerSourceToken(CrossEntropyConfig(), TASK))
    compiled = CompiledLoss(module, CompileOptions("eager", is_one_graph=True))
    for batch in (collate([([5, 6, 2], [5, 2]), ([7, 2], [7, 2])]), make_batch(TASK, 5, (1, 7))):
        assert_close(compiled(batch).logs, module(batch).logs)


def gradients_of_two(is_compiled: bool) -> list[list[float]]:
    """In each of two processes: the gradients of its update of two micro-batches, summed over both processes."""
    module = make_module(TASK)
    if is_compiled:
        module.compile_training(CompileOptions("aot_eager"))
    with joined_processes() as processes:
        reduction = DataParallel(module, find_unused_parameters=False)
        for number in range(2):
            batch = make_batch(TASK, 5 + number, (2, 9), seed=2 * number + processes.rank)
            with reduction.micro_batch(batch, is_last=number == 1):
                reduction.module(batch).loss_sum.backward()
        return [parameter.grad.flatten().tolist() for parameter in module.parameters() if parameter.grad is not None]


@pytest.mark.slow
def test_compiled_processes_sum_the_gradients_that_others_do() -> None:
    compiled = run_in_processes(gradients_of_two, 2, True, limit_seconds=300.0)
    assert_close(compiled[0], compiled[1], rtol=0.0, atol=0.0)
    assert_close(compiled, run_in_processes(gradients_of_two, 2, False), rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("is_deterministic", [False, True])
def test_a_gpu_compiles_two_graphs_for_padded_batches_and_no_more(is_deterministic: bool) -> None:
    device = torch.device("cuda")
    module = make_module(TASK).to(device)
    compiled = CompiledLoss(module, CompileOptions(is_one_graph=True, is_deterministic=is_deterministic))
    for lengths in ((3, 9), (3, 3)):
        compiled(make_batch(TASK, 8, lengths).to(device)).loss_sum.backward()
    with torch._dynamo.config.patch(error_on_recompile=True):
        for number, (num_sentences, lengths) in enumerate([(5, (2, 5)), (12, (1, 4)), (2, (5, 15)), (3, (4, 4))]):
            batch = make_batch(TASK, num_sentences, lengths, seed=number).to(device)
            output, expected = compiled(batch), module(batch)
            assert_close(output.loss_sum, expected.loss_sum)
            assert_close(gradients(module, output.loss_sum), gradients(module, expected.loss_sum))
