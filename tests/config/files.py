"""Plug-in files for tests: light ones, that need no torch."""

from __future__ import annotations

from pathlib import Path

WIDGET = '''
from dataclasses import dataclass

from seqtrain.models import ModelConfig, register_model


@dataclass(kw_only=True)
class WidgetConfig(ModelConfig):
    """A widget of some size."""

    size: int = 3
    """Its size, in inches."""


@register_model("widget", WidgetConfig)
class Widget:
    origin = "{origin}"
'''

WIDGET_BIG = "# A big widget.\ndefaults: [widget, _self_]\nsize: {size}\n"


def write(file: Path, text: str) -> Path:
    """Write a file, and the folders above it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def write_widget(folder: Path, origin: str = "somewhere", *, size_of_big: int = 12) -> Path:
    """A folder of plug-ins that brings model=widget and its preset model=widget_big along."""
    write(folder / "widget.py", WIDGET.replace("{origin}", origin))
    write(folder / "conf/model/widget_big.yaml", WIDGET_BIG.replace("{size}", str(size_of_big)))
    return folder
