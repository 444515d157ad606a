"""What is said of checkpoints that are good, damaged, or made with plug-ins that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seqtrain.assemble import build_model
from seqtrain.config.check import to_yaml
from seqtrain.config.root import TrainConfig
from seqtrain.config.versions import with_version
from seqtrain.criterions.cross_entropy import CrossEntropyConfig
from seqtrain.errors import ConfigError
from seqtrain.lr_schedulers.fixed import FixedConfig
from seqtrain.models.transformer.schema import TransformerConfig
from seqtrain.optimizers.adam import AdamConfig
from seqtrain.training.checkpoint import Checkpoint, CheckpointContent, write_checkpoint
from seqtrain.training.weights import named_tensors
from seqtrain.verification import checkpoint
from seqtrain.verification.checkpoint import checkpoints_of, find_broken_links, inspect
from seqtrain.verification.files import FileReport, inspect_files
from tests.unit.tasks.corpus import ready, write

SMALL = TransformerConfig(
    encoder_embed_dim=8,
    decoder_embed_dim=8,
    encoder_ffn_embed_dim=8,
    decoder_ffn_embed_dim=8,
    encoder_layers=1,
    decoder_layers=1,
    encoder_attention_heads=1,
    decoder_attention_heads=1,
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with checkpoints of the updates 4 and 8."""
    text = tmp_path / "text"
    text.mkdir()
    write(text, "train")
    task = ready(text)
    config = TrainConfig(
        task=task.config,
        model=SMALL,
        criterion=CrossEntropyConfig(),
        optimizer=AdamConfig(),
        lr_scheduler=FixedConfig(),
    )
    model = build_model(SMALL, task)
    for update in (4, 8):
        folder = tmp_path / f"run/checkpoints/update_{update:08d}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        content = CheckpointContent(
            model=named_tensors(model),
            criterion={},
            optimizer={"weight/step": torch.arange(3.0)},
            state={},
            config=with_version(to_yaml(config)),
            save_assets=task.save_assets,
        )
        write_checkpoint(folder, content)
    (folder.parent / "last").symlink_to(folder.name)
    return tmp_path / "run"


def newest(run: Path) -> Path:
    return run / "checkpoints/update_00000008"


def rewrite(folder: Path, *, model: dict[str, torch.Tensor] | None = None, config: tuple[str, str] = ("", "")) -> None:
    """Write a checkpoint again, whole, with other weights or another text in the place of one in its config."""
    old = Checkpoint(folder)
    assets = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".txt", ".json", ".model")}

    def save_assets(target: Path) -> None:
        for name in set(assets) - {"state.json", "manifest.json"}:
            (target / name).write_bytes(assets[name])

    content = CheckpointContent(
        model={**old.model, **(model or {})},
        criterion={},
        optimizer=old.optimizer,
        state={},
        config=old.config.replace(*config),
        save_assets=save_assets,
    )
    write_checkpoint(folder, content)


def test_a_good_checkpoint_is_called_good(run: Path) -> None:
    report = inspect(newest(run))
    assert report.is_good
    assert report.problems == []
    (note,) = report.notes
    assert note.startswith("the weights fit the model of ")


def test_the_numbers_of_a_file_are_counted(run: Path) -> None:
    (optimizer,) = (file for file in inspect_files(newest(run)) if file.name == "optimizer.safetensors")
    size = (newest(run) / "optimizer.safetensors").stat().st_size
    assert optimizer == FileReport(
        name="optimizer.safetensors", num_bytes=size, num_tensors=1, num_values=3, num_not_finite=0
    )


def test_values_that_are_no_numbers_are_counted(run: Path) -> None:
    weight = torch.ones(4)
    weight[1], weight[2] = torch.nan, torch.inf
    rewrite(newest(run), model={"extra": weight})
    report = inspect(newest(run))
    (model,) = (file for file in report.files if file.name == "model.safetensors")
    assert model.num_not_finite == 2
    assert model.problem == "has values that are no finite numbers"
    assert not report.is_good


def test_weights_of_another_shape_do_not_fit_the_model(run: Path) -> None:
    rewrite(newest(run), config=("encoder_ffn_embed_dim: 8", "encoder_ffn_embed_dim: 16"))
    report = inspect(newest(run))
    (problem,) = report.problems
    assert "does not fit the model" in problem
    assert all(file.problem is None for file in report.files)


def test_a_plugin_that_is_absent_is_no_fault_of_the_checkpoint(run: Path) -> None:
    rewrite(newest(run), config=("_name: transformer\n", "_name: my_absent_model\n"))
    report = inspect(newest(run))
    assert report.is_good
    assert report.notes[0].startswith("the model was not built, so the shapes are not compared: no model is called")


def test_each_damaged_file_is_named(run: Path) -> None:
    folder = newest(run)
    (folder / "dict.en.txt").unlink()
    (folder / "dict.de.txt").write_text("", encoding="utf-8")
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    (folder / "optimizer.safetensors").write_bytes(b"x" * (folder / "optimizer.safetensors").stat().st_size)
    (folder / "stray").touch()
    problems = {file.name: file.problem for file in inspect_files(folder) if file.problem is not None}
    size = problems.pop("dict.de.txt")
    assert size is not None
    assert size.endswith("bytes were written")
    assert problems == {
        "dict.en.txt": "missing",
        "model.safetensors": "altered: another checksum",
        "optimizer.safetensors": "altered: another checksum",
        "stray": "not in the manifest",
    }
    assert len(inspect(folder).problems) == 1


@pytest.mark.parametrize("text", ["", "[]", '{"files": 1}', None], ids=["empty", "a list", "no files", "missing"])
def test_a_damaged_manifest_is_told(run: Path, text: str | None) -> None:
    manifest = newest(run) / "manifest.json"
    manifest.unlink() if text is None else manifest.write_text(text, encoding="utf-8")
    assert len(inspect(newest(run)).problems) == 1


def test_a_run_folder_stands_for_all_of_its_checkpoints(run: Path) -> None:
    both = [run / "checkpoints/update_00000004", newest(run)]
    assert checkpoints_of(run) == checkpoints_of(run / "checkpoints") == both
    assert checkpoints_of(newest(run)) == [newest(run)]
    assert checkpoints_of(run / "checkpoints/last") == [run / "checkpoints/last"]
    with pytest.raises(ConfigError, match="there is no checkpoint"):
        checkpoints_of(run.parent / "text")


def test_a_link_that_leads_nowhere_is_found(run: Path) -> None:
    assert find_broken_links(run) == []
    link = run / "checkpoints/best"
    link.symlink_to("update_00000006")
    assert find_broken_links(run) == [f"{link} points to update_00000006, which is not there"]


def test_the_exit_status_tells_whether_all_is_well(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checkpoint.run([str(run)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 of 2 checkpoints are good"
    (newest(run) / "config.yaml").unlink()
    assert checkpoint.run([str(run)]) == 2
    assert capsys.readouterr().out.splitlines()[-1] == "1 of 2 checkpoints are good"
    with pytest.raises(ConfigError, match="no folder is named"):
        checkpoint.run([])
