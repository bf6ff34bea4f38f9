"""The demo of a model as a Gradio Space, whose files do not need ser_hf."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import SpaceCardData, constants

from ..corpora.schema import EMOTION_COLORS
from ..evaluation.metrics import NAMES
from ..report.card import markdown
from ..report.report import Report
from ..report.views import evaluated_speakers, figure, span
from ..utils.errors import UserError
from ..utils.files import atomic_folder, packaged, write_json

# The versions that the page is tested with.
GRADIO = "6.31.0"
PYTHON = "3.12"
REQUIREMENTS = """\
gradio>=6.31,<7
transformers>=5.18,<6
torch>=2.11,<2.13
numpy>=2,<3
soundfile>=0.13,<0.15
soxr>=1.0,<2
"""
LIMITS = [
    "Its model card describes its training data and how well it performs. Expect lower accuracy on other speakers, "
    "languages, telephones and noise.",
    "A voice does not prove a feeling: do not make decisions about people from these predictions. In the European "
    "Union, inferring emotions at work and in education is prohibited except for medical or safety reasons "
    "(Regulation (EU) 2024/1689, article 5(1)(f)); elsewhere the people exposed to it must be informed "
    "(article 50(3)).",
]
MODEL_LINK = "Model and card"


@dataclasses.dataclass(frozen=True)
class Demo:
    """What a Space shows: `model` is a Hub id, or a folder for a page on this machine; `window` are
    the seconds of evaluation windows (`evaluation.window` of its recipe), and `report_page` is a
    URL or path."""

    model: str
    report: Report | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    window: float | None = None
    report_page: str | None = None


def write_space(folder: str | Path, demo: Demo) -> Path:
    """Write a Gradio Space: app.py, requirements.txt, README.md and facts.json; an existing Space
    is replaced.

    Args:
        folder: of the Space.
        demo: the model and what the page shows.

    Raises:
        UserError: if the folder has other files.
    """
    folder = Path(folder)
    report = demo.report
    if (
        folder.exists()
        and not (folder / "facts.json").is_file()
        and (folder.is_file() or any(folder.iterdir()))
    ):
        raise UserError(f"{folder}: contains files that are not a Space; choose another folder")
    shared = not Path(demo.model).is_dir()
    links = {
        MODEL_LINK: f"{constants.ENDPOINT}/{demo.model}" if shared else None,
        "Report": demo.report_page,
    }
    leak = report and report.protocol.leak
    facts = {
        "model": demo.model,
        "revision": demo.revision,
        "trust_remote_code": demo.trust_remote_code,
        "window": demo.window,
        "title": report.name if report else Path(demo.model).name,
        "headline": headline(report) if report else None,
        "leak": f"Leaky protocol ({report.protocol.name}). {leak}" if leak else None,
        "limits": LIMITS,
        "colors": EMOTION_COLORS,
        "links": {name: address for name, address in links.items() if address},
    }
    with atomic_folder(folder, "folder") as partial:
        (partial / "app.py").write_bytes((packaged("hub_cards") / "space_app.py").read_bytes())
        more = "opensmile>=2.6,<3\n" if report and "openSMILE" in report.model.preparation else ""
        (partial / "requirements.txt").write_text(REQUIREMENTS + more, encoding="utf-8")
        write_json(partial / "facts.json", facts)
        (partial / "README.md").write_text(_readme(facts, shared), encoding="utf-8")
    return folder


def headline(report: Report) -> str:
    """The main metrics in one sentence, with their interval and the test speakers."""
    main, beside = (
        f"{NAMES[key]} {figure(report.metrics[key])}"
        for key in (report.main, report.measured.beside[0])
    )
    interval = report.intervals.get(report.main)
    between = f" ({100 * report.confidence:g} % interval {span(interval)})" if interval else ""
    return f"{main}{between}, {beside} on {evaluated_speakers(report)} (protocol {report.protocol.name})."


def _readme(facts: Mapping[str, Any], shared: bool) -> str:
    data = SpaceCardData(
        title=facts["title"],
        emoji="🎙️",
        colorFrom="blue",
        colorTo="gray",
        sdk="gradio",
        sdk_version=GRADIO,
        python_version=PYTHON,
        app_file="app.py",
        license="apache-2.0",
        models=[facts["model"]] if shared else None,
        tags=["speech-emotion-recognition", "audio-classification", "ser_hf"],
        short_description="Try a speech emotion recognition model",
    )
    link = facts["links"].get(MODEL_LINK)
    return markdown("space.md", {**facts, "card_data": data.to_yaml(), "link": link})
