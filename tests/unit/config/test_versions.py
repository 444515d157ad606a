"""What older versions saved is brought up to date, what newer ones saved is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seqtrain.config.versions import CONFIG_MIGRATIONS, Migration, saved_config, up_to_date, with_version
from seqtrain.errors import ConfigError


def rename_rate(values: dict[str, Any]) -> dict[str, Any]:
    return {"lr" if key == "rate" else key: value for key, value in values.items()}


def keep_old_default(values: dict[str, Any]) -> dict[str, Any]:
    return {"clip": 0.1, **values}


MIGRATIONS = (Migration("rate is called lr", rename_rate), Migration("clip is 0 by default", keep_old_default))


@pytest.mark.parametrize(
    ("saved", "expected"),
    [
        ({"rate": 3}, {"lr": 3, "clip": 0.1}),
        ({"version": 0, "rate": 3}, {"lr": 3, "clip": 0.1}),
        ({"version": 1, "lr": 3}, {"lr": 3, "clip": 0.1}),
        ({"version": 2, "lr": 3}, {"lr": 3}),
    ],
)
def test_each_migration_is_made_once_from_the_saved_version_on(saved: dict[str, Any], expected: dict[str, Any]) -> None:
    before = dict(saved)
    assert up_to_date(saved, MIGRATIONS, label="config.yaml", error=ConfigError) == expected
    assert saved == before


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (
            3,
            "config.yaml is of version 3, and this seqtrain reads versions up to 2\n"
            "use the version of seqtrain that wrote it, or a newer one",
        ),
        ("new", "config.yaml: version must be a whole number, but is 'new'"),
        (True, "config.yaml: version must be a whole number, but is True"),
        (-1, "config.yaml: version must be a whole number, but is -1"),
    ],
)
def test_other_versions_are_refused(version: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        up_to_date({"version": version}, MIGRATIONS, label="config.yaml", error=ConfigError)
    assert str(caught.value) == message


def test_a_saved_config_carries_the_newest_version_and_is_read_without_it(tmp_path: Path) -> None:
    text = with_version("optimizer:\n  lr: 3\n")
    assert text == f"version: {len(CONFIG_MIGRATIONS)}\noptimizer:\n  lr: 3\n"
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    assert saved_config(tmp_path / "config.yaml") == saved_config(text) == {"optimizer": {"lr": 3}}


def test_a_file_of_a_newer_version_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("version: 1000\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"^{file} is of version 1000, "):
        saved_config(file)


def test_every_migration_has_its_reason() -> None:
    assert all(migration.reason for migration in CONFIG_MIGRATIONS)
