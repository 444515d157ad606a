"""The model and the test set that all contestants are given."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.batches import MULTI30K, NUM_TYPES
from benchmarks.decoding.exchange import Job, write_weights
from benchmarks.harness.environments import BENCHMARKS
from seqtrain.assemble.trained import load_trained
from seqtrain.models.transformer.model import Transformer
from seqtrain.tasks.base import Task

DATA = BENCHMARKS / ".data" / "decoding"
TEST_SPLIT = "test.2016"


def find_checkpoint(num_epochs: int) -> tuple[Path, str]:
    """A checkpoint folder, and where it comes from: the recipe trained for some epochs, once, on Multi30k.

    Where there is no Multi30k, sentences of random words take its place, and weights that were hardly trained.
    """
    DATA.mkdir(parents=True, exist_ok=True)
    if MULTI30K.exists():
        name, origin = f"multi30k-{num_epochs}", f"experiment=multi30k_tiny, {num_epochs} epochs"
        options = [f"task.data={MULTI30K}", f"training.max_epochs={num_epochs}"]
    else:
        name, origin = "random", "random words and weights after one update"
        options = [f"task.data={_random_text(DATA / 'text')}", "training.max_updates=1"]
    folder = DATA / "outputs" / name / "checkpoints" / "last"
    if not folder.exists():
        command = [sys.executable, "-m", "seqtrain.train", "experiment=multi30k_tiny", f"run_name={name}", *options]
        subprocess.run(command, cwd=DATA, check=True, stdout=sys.stderr)
    return folder, origin


def write_job(
    folder: Path, checkpoint: Path, *, num_sentences: int, length_penalty: float, beam_size: int, max_length: int
) -> tuple[Task, Job, list[str]]:
    """Write what the contestants read.

    Returns:
        The task, the job, and the references in the order of the job's sources.
    """
    shutil.rmtree(folder, ignore_errors=True)  # another model's weights in a peer's format
    folder.mkdir(parents=True)
    checkpoint = checkpoint.resolve()
    config, task, model = load_trained(checkpoint)
    assert isinstance(model, Transformer)
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    for side, embedding in (("encoder", model.encoder_input), ("decoder", model.decoder_input)):
        assert embedding.positions is not None
        weights[f"{side}_positions"] = embedding.positions(0, config.model.max_source_positions).numpy()
    write_weights(folder, weights)
    dataset, vocabulary = task.dataset(TEST_SPLIT), task.target_vocabulary
    references = task.references(TEST_SPLIT)
    assert references is not None
    order = np.argsort(dataset.lengths[:, 0], kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(num_sentences, len(order))).astype(int)]
    sources = dataset.collate(chosen).source_tokens
    assert sources is not None
    job = Job(
        checkpoint=str(checkpoint),
        symbols=list(vocabulary.symbols),
        num_layers=config.model.encoder_layers,
        num_heads=config.model.encoder_attention_heads,
        sources=[
            [vocabulary.symbol(token) for token in row if token not in (vocabulary.pad, vocabulary.eos)]
            for row in sources.tolist()
        ],
        beam_size=beam_size,
        length_penalty=length_penalty,
        max_length=max_length,
    )
    job.save(folder)
    return task, job, [references[number] for number in chosen.tolist()]


def measure_bleu(task: Task, hypotheses: list[list[str]], references: list[str]) -> float:
    """BLEU of symbols, after the tokenization is undone."""
    vocabulary = task.target_vocabulary
    texts = [task.decode(np.array([vocabulary.index(symbol) for symbol in line], np.int64)) for line in hypotheses]
    return task.measure_text(texts, references)["bleu"]


def _random_text(folder: Path) -> Path:
    """Parallel text of random words, as many types as Multi30k has."""
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(1)
    for split, num_lines in (("train", 29_000), ("valid", 100), (TEST_SPLIT, 1000)):
        lengths = generator.normal(13, 4, num_lines).round().clip(3, 40).astype(int)
        for language in ("en", "de"):
            lines = (" ".join(f"w{word}" for word in generator.integers(0, NUM_TYPES - 4, size)) for size in lengths)
            (folder / f"{split}.{language}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
