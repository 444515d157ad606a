"""Memory is measured as the system tells it, and running out of it names the batch and the setting to lower."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from seqtrain.config.root import TrainBatchingConfig, TrainConfig, TrainingConfig
from seqtrain.data.batch import Batch
from seqtrain.data.packing import PackedShape, SideShape
from seqtrain.data.pairs import PairDataset
from seqtrain.errors import TrainingError
from seqtrain.testing.fakes import collate
from seqtrain.training.memory import HostMemory, describe_batch, explaining_out_of_memory, is_out_of_memory

CPU = torch.device("cpu")
BATCHES = [collate([([5, 2], [6, 2])]), collate([([5, 6, 2], [6, 2]), ([5, 2], [7, 2])])]


def explain(error: Exception, batches: Sequence[Batch], config: TrainConfig) -> TrainingError:
    with (
        pytest.raises(TrainingError) as caught,
        explaining_out_of_memory(batches, config, update=7, process=1, device=CPU),
    ):
        raise error
    return caught.value


def test_an_allocation_that_the_host_refuses_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))


def test_the_message_names_the_largest_batch_and_the_remedy_keeps_the_size_of_an_update() -> None:
    config = TrainConfig(batching=TrainBatchingConfig(max_tokens=4096), training=TrainingConfig(update_freq=3))
    error = explain(torch.OutOfMemoryError("CUDA out of memory.\nMuch more"), BATCHES, config)
    message = str(error.args[0])
    assert message.startswith(
        "process 1 ran out of memory in update 7, whose largest batch has 2 sentences of up to 3 source and 2 target "
        "tokens (6 tokens with padding); "
    )
    assert message.endswith("GiB were in use: CUDA out of memory.")
    assert error.remedy is not None
    assert error.remedy.startswith(
        "batching.max_tokens=2048 training.update_freq=6 keeps the size of an update; batching.find_max_tokens=true"
    )
    assert error.exit_status == 1


def test_a_packed_batch_is_described_by_its_rows() -> None:
    side = SideShape(num_rows=64, num_columns=3, row_length=128)
    shape = PackedShape(side, side, num_sequences=4, num_attention_rows=1)
    dataset = PairDataset.from_lists([[5, 2], [6, 7, 2]], [[5, 2], [6, 2]])
    packed = dataset.collate_packed(np.arange(2), shape)
    assert describe_batch(packed) == "2 sentences in 64 source and 64 target rows"


def test_a_limit_of_sentences_alone_is_the_one_to_lower() -> None:
    config = TrainConfig(batching=TrainBatchingConfig(max_tokens=None, max_sentences=64))
    remedy = explain(MemoryError(), BATCHES, config).remedy
    assert remedy is not None
    assert remedy.startswith("batching.max_sentences=32 training.update_freq=2 ")


def test_one_sentence_that_does_not_fit_is_said_to_be_one() -> None:
    assert "one sentence alone" in str(explain(MemoryError(), BATCHES[:1], TrainConfig()))


def test_other_errors_stay_as_they_are() -> None:
    with (
        pytest.raises(RuntimeError, match="shapes"),
        explaining_out_of_memory(BATCHES, TrainConfig(), update=1, process=0, device=CPU),
    ):
        raise RuntimeError("shapes do not fit")


def test_a_batch_of_a_language_model_has_no_sources() -> None:
    batch = collate([([5, 2], [6, 7, 2])])
    alone = type(batch)(batch.ids, batch.previous_tokens, batch.targets, batch.target_positions, batch.num_tokens)
    assert describe_batch(alone) == "1 sentences of up to 3 target tokens (3 tokens with padding)"


@pytest.fixture
def system(tmp_path: Path) -> HostMemory:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 16000 kB\nMemAvailable:   8000 kB\n")
    (tmp_path / "proc/self/status").write_text("Name: python\nVmHWM:\t 3000 kB\nVmRSS:\t  1000 kB\n")
    (tmp_path / "cgroup").mkdir()
    return HostMemory(2, proc=tmp_path / "proc", cgroup=tmp_path / "cgroup")


def test_the_limit_is_a_share_of_what_is_available_and_what_the_process_has(system: HostMemory) -> None:
    assert system.limit() == (1000 + 8000 // 2) * 1024
    assert system.peak(lambda: None) == 3000 * 1024


def test_a_container_with_less_memory_sets_the_limit(system: HostMemory, tmp_path: Path) -> None:
    (tmp_path / "cgroup/memory.max").write_text(f"{4000 * 1024}\n")
    (tmp_path / "cgroup/memory.current").write_text(f"{1500 * 1024}\n")
    (tmp_path / "cgroup/memory.stat").write_text(f"anon 5\ninactive_file {500 * 1024}\n")
    assert system.limit() == (1000 + (4000 - 1500 + 500) // 2) * 1024
    (tmp_path / "cgroup/memory.max").write_text("max\n")
    assert system.limit() == (1000 + 8000 // 2) * 1024


def test_a_system_that_does_not_tell_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="does not tell"):
        HostMemory(proc=tmp_path, cgroup=tmp_path).limit()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_a_peak_is_that_of_the_computation_alone() -> None:
    meter = HostMemory()

    def peak(num_mebibytes: int) -> int | None:
        def allocate() -> None:
            torch.ones(num_mebibytes * 2**18)

        return meter.peak(allocate)

    peaks = [peak(1), peak(200), peak(1)]
    assert all(peak is not None for peak in peaks)
    small, large, small_again = (float(peak or 0) for peak in peaks)
    assert large - small == pytest.approx(199 * 2**20, rel=0.2)
    assert abs(small_again - small) < 50 * 2**20
