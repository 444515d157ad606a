"""Several processes decode a dataset, each its share."""

from __future__ import annotations

import numpy as np

from seqtrain.data.dataset import Dataset
from seqtrain.testing.fakes import TinyTask
from seqtrain.training.distributed import Processes, SingleProcess
from seqtrain.training.validation import ShareOfDataset, decode_together


class OneOfThree(SingleProcess):
    """The second of three processes, which knows nothing of the others."""

    def __init__(self) -> None:
        Processes.__init__(self, 1, 3)


def test_a_share_is_every_so_many_th_example_and_numbers_them_by_itself() -> None:
    dataset = TinyTask(num_examples=8).dataset("valid")
    share = ShareOfDataset(dataset, OneOfThree(), lambda: False)
    batch = share.collate(np.arange(len(share)))
    expected = dataset.collate(np.array([1, 4, 7]))
    assert batch.ids.tolist() == [0, 1, 2]
    assert batch.targets.tolist() == expected.targets.tolist()
    assert share.lengths.tolist() == dataset.lengths[[1, 4, 7]].tolist()


def test_one_process_decodes_all() -> None:
    def decode(share: Dataset) -> list[str]:
        return [str(number) for number in share.collate(np.arange(len(share))).ids.tolist()]

    dataset = TinyTask(num_examples=4).dataset("valid")
    assert decode_together(decode, dataset, SingleProcess(), lambda: False) == ["0", "1", "2", "3"]
