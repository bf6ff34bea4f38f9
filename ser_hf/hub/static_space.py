"""A static Space: a page of `ser_hf.export_web`, which runs the model in the browser."""

import shutil
from pathlib import Path

from huggingface_hub import SpaceCardData, constants

from ..report.card import markdown
from ..report.model_page import LIMITS, headline, leak_warning
from ..report.report import Report
from ..utils.cache import format_size
from ..utils.errors import UserError
from .space import TAGS

# Files that every such page has.
_REQUIRED = ("index.html", "facts.json", "model.onnx")
# Files that a push of a page deletes if the page does not have them any more.
OWNED = ("runtime/*",)


def require_page(page: Path) -> None:
    """Refuse a folder that `ser_hf.export_web` did not write."""
    for name in _REQUIRED:
        if not (page / name).is_file():
            raise UserError(
                f"space_page: {page} has no {name}; ser-hf export MODEL --web FOLDER writes a page"
            )


def write_static_space(folder: Path, page: Path, *, model: str, report: Report) -> None:
    """Write a static Space: the files of a page, and README.md.

    Args:
        page: the folder of the page.
        model: the Hub id of the model.
        report: the report of the model.
    """
    shutil.copytree(page, folder)
    data = SpaceCardData(
        title=report.name,
        emoji="🎙️",
        colorFrom="blue",
        colorTo="gray",
        sdk="static",
        app_file="index.html",
        license="apache-2.0",
        models=[model],
        tags=TAGS,
        short_description="Speech emotion recognition in your browser",
    )
    values = {
        "card_data": data.to_yaml(),
        "title": report.name,
        "model": model,
        "link": f"{constants.ENDPOINT}/{model}",
        "size": format_size((page / "model.onnx").stat().st_size),
        "headline": headline(report),
        "leak": leak_warning(report),
        "limits": LIMITS,
    }
    (folder / "README.md").write_text(markdown("static_space.md", values), encoding="utf-8")
