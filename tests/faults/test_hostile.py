"""Files made to run code or to reach outside: refused, with nothing run and nothing written."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import seqtrain
from seqtrain.assemble import build_task
from seqtrain.assemble.trained import load_trained
from seqtrain.data import manifest as data_manifest
from seqtrain.errors import SeqtrainError
from seqtrain.files import sha256
from seqtrain.tasks.translation import TranslationConfig
from seqtrain.training import checkpoint as checkpoint_module
from seqtrain.training.checkpoint import MANIFEST, Checkpoint
from tests.faults import corpus
from tests.faults.plugin import Figures
from tests.system.runs import start

FAULT = "Hostile files"


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self._code = f"open({str(canary)!r}, 'w').close()"

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (self._code,)


@pytest.fixture
def canary(tmp_path: Path, figures: Figures) -> Iterator[Path]:
    """A file that no test may make."""
    path = tmp_path / "canary"
    yield path
    figures.count(FAULT, "inputs")
    figures.count(FAULT, "that ran code or wrote outside", int(path.exists()))
    assert not path.exists()


def raw(payload: Payload) -> bytes:
    """A plain pickle."""
    return pickle.dumps(payload)


def torch_zip(payload: Payload) -> bytes:
    """What torch.save writes."""
    buffer = io.BytesIO()
    torch.save({"model": payload}, buffer)
    return buffer.getvalue()


def torch_legacy(payload: Payload) -> bytes:
    """What torch.save wrote before version 1.6."""
    buffer = io.BytesIO()
    torch.save({"model": payload}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def plain_zip(payload: Payload) -> bytes:
    """A zip whose one member is a pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(payload))
    return buffer.getvalue()


def numpy_object(payload: Payload) -> bytes:
    """An .npy file of objects, which numpy unpickles."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([payload], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def yaml_object(payload: Payload) -> bytes:
    """A YAML document that names code to call."""
    return f"!!python/object/apply:builtins.exec [{json.dumps(payload._code)}]\n".encode()


SHAPES: list[Callable[[Payload], bytes]] = [raw, torch_zip, torch_legacy, plain_zip, numpy_object, yaml_object]


def test_each_payload_does_run_where_it_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "proof"
    pickle.loads(raw(Payload(path)))  # noqa: S301  # the tests below would prove nothing with a payload that is none
    assert path.exists()


def sign(checkpoint: Path) -> None:
    """Give a checkpoint a manifest that fits its files: a checksum is no signature."""
    names = sorted(path.name for path in checkpoint.iterdir() if path.name != MANIFEST)
    files = {name: {"size": (checkpoint / name).stat().st_size, "sha256": sha256(checkpoint / name)} for name in names}
    write_manifest(checkpoint, files)


def write_manifest(checkpoint: Path, files: dict[str, Any]) -> None:
    """Write a manifest of these entries, with the digest that belongs to them."""
    (checkpoint / MANIFEST).write_text(checkpoint_module._manifest_text(files), encoding="utf-8")


def load_all(checkpoint: Path) -> None:
    """Read everything of a checkpoint, as a resumed run does, and make a model of it."""
    opened = Checkpoint(checkpoint)
    assert opened.model
    assert opened.optimizer
    assert isinstance(opened.state["train"], dict)
    load_trained(checkpoint)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape.__name__))
@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "optimizer.safetensors", "state.json", "config.yaml", "dict.en.txt", "tokenizer.en.json",
     "tokenizer.en.model", "languages.json"],
)  # fmt: skip
def test_a_payload_in_place_of_a_file_with_a_manifest_that_fits_is_refused(
    checkpoint: Path, canary: Path, name: str, shape: Callable[[Payload], bytes]
) -> None:
    assert (checkpoint / name).exists()
    (checkpoint / name).write_bytes(shape(Payload(canary)))
    sign(checkpoint)
    with pytest.raises(SeqtrainError):
        load_all(checkpoint)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape.__name__))
def test_a_payload_as_manifest_is_refused(checkpoint: Path, canary: Path, shape: Callable[[Payload], bytes]) -> None:
    (checkpoint / MANIFEST).write_bytes(shape(Payload(canary)))
    with pytest.raises(SeqtrainError):
        seqtrain.load(checkpoint)


@pytest.mark.parametrize(
    "name", ["checkpoint.pt", "model.safetensors", ".metadata", "__0_0.distcp", "pytorch_model.bin"]
)
def test_a_file_or_folder_of_pickles_is_no_checkpoint(tmp_path: Path, canary: Path, name: str) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / name).write_bytes(torch_zip(Payload(canary)) if name.endswith(".pt") else raw(Payload(canary)))
    for path in (folder, folder / name):
        with pytest.raises(SeqtrainError, match="checkpoint"):
            seqtrain.load(path)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape.__name__))
@pytest.mark.parametrize("name", ["train.en-de.en.idx", "dict.en.txt", "tokenizer.en.json", "dataset.json"])
def test_a_payload_in_a_folder_of_data_is_refused(
    data_bin: Path, canary: Path, name: str, shape: Callable[[Payload], bytes]
) -> None:
    assert (data_bin / name).exists()
    (data_bin / name).write_bytes(shape(Payload(canary)))
    if name != "dataset.json":
        (data_bin / "dataset.json").unlink()
        data_manifest.write_manifest(data_bin)
    task = build_task(TranslationConfig(data=str(data_bin)))
    with pytest.raises(SeqtrainError):
        _open(task)


def _open(task: Any) -> None:
    task.setup()
    task.dataset("train")


def edit_config(checkpoint: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change a checkpoint's config, and make the manifest fit."""
    path = checkpoint / "config.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    edit(config)
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    sign(checkpoint)


@pytest.mark.parametrize("section", ["task", "model", "training", None])
def test_a_config_that_names_code_to_call_is_refused(checkpoint: Path, canary: Path, section: str | None) -> None:
    def edit(config: dict[str, Any]) -> None:
        node = config if section is None else config[section]
        node.update({"_target_": "builtins.exec", "_args_": [Payload(canary)._code]})

    edit_config(checkpoint, edit)
    with pytest.raises(SeqtrainError, match="_target_"):
        load_trained(checkpoint)


@pytest.mark.parametrize("name", ["os.system", "../user_plugins/evil", "seqtrain.models.transformer", "evil"])
def test_a_config_that_names_no_registered_plugin_is_refused(
    checkpoint: Path, canary: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = checkpoint / "user_plugins"
    plugins.mkdir()
    (plugins / "evil.py").write_text(Payload(canary)._code, encoding="utf-8")
    monkeypatch.chdir(checkpoint.parent)
    shutil.move(plugins, checkpoint.parent / "plugins_of_the_checkpoint")
    edit_config(checkpoint, lambda config: config["model"].update({"_name": name}))
    with pytest.raises(SeqtrainError):
        load_trained(checkpoint)


@pytest.mark.usefixtures("canary")
@pytest.mark.parametrize("value", ["${oc.env:SECRET}", "${eval:1}", "${training.seed}", "a ${oc.decode:1} b"])
@pytest.mark.parametrize(("section", "key"), [("task", "data"), ("model", "encoder_layers"), ("training", "seed")])
def test_a_config_that_refers_to_anything_is_refused(
    checkpoint: Path, section: str, key: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "the secret")
    edit_config(checkpoint, lambda config: config[section].update({key: value}))
    with pytest.raises(SeqtrainError, match=key) as caught:
        load_trained(checkpoint)
    assert "the secret" not in str(caught.value)


@pytest.mark.usefixtures("canary")
@pytest.mark.parametrize(
    "name", ["../outside", "/etc/hostname", "sub/../../outside", "..", "", "a" * 5000, "a\0b", "\udc80"]
)
def test_a_manifest_that_names_a_file_elsewhere_is_refused(checkpoint: Path, name: str) -> None:
    (checkpoint.parent / "outside").write_text("outside", encoding="utf-8")
    write_manifest(checkpoint, {name: {"size": 7, "sha256": "0"}})
    with pytest.raises(SeqtrainError):
        Checkpoint(checkpoint)
    assert (checkpoint.parent / "outside").read_text(encoding="utf-8") == "outside"


@pytest.mark.usefixtures("canary")
@pytest.mark.parametrize("name", ["model.safetensors", "config.yaml", "dict.en.txt"])
def test_a_link_in_place_of_a_file_is_refused(checkpoint: Path, name: str) -> None:
    outside = checkpoint.parent / "outside"
    shutil.move(checkpoint / name, outside)
    (checkpoint / name).symlink_to(outside)
    sign(checkpoint)
    with pytest.raises(SeqtrainError, match="outside of its folder"):
        Checkpoint(checkpoint)


@pytest.mark.usefixtures("canary")
def test_a_list_of_data_files_that_names_one_elsewhere_is_refused(data_bin: Path) -> None:
    (data_bin / "dataset.json").write_text(data_manifest._text({"../canary": {"size": 0, "sha256": ""}}))
    task = build_task(TranslationConfig(data=str(data_bin)))
    with pytest.raises(SeqtrainError, match="outside of its folder"):
        _open(task)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["generate", "train", "resume"])
def test_the_commands_refuse_a_payload_on_one_screen(
    run: Path, checkpoint: Path, made_data_bin: Path, canary: Path, command: str
) -> None:
    (checkpoint / "model.safetensors").write_bytes(torch_zip(Payload(canary)))
    sign(checkpoint)
    training = (f"task.data={made_data_bin}", "task=translation", *corpus.TINY)
    arguments = {
        "generate": (f"checkpoint={checkpoint}", "split=valid"),
        "train": (*training, f"checkpoint.finetune_from={checkpoint}", "hydra.run.dir=other"),
        "resume": (*training, "training.max_updates=3"),
    }[command]
    result = start(command.replace("resume", "train"), *arguments, cwd=run.parent)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert "model.safetensors" in result.stderr
