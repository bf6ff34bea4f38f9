"""The demo of a model as a Gradio Space, whose files do not need ser_hf."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from huggingface_hub import SpaceCardData, constants

from ..corpora.schema import EMOTION_COLORS
from ..report.card import markdown
from ..report.model_page import LIMITS, headline, leak_warning
from ..report.report import Report
from ..utils.errors import UserError
from ..utils.files import atomic_folder, packaged, write_json

# The page is tested with these versions.
GRADIO = "6.31.0"
PYTHON = "3.12"
REQUIREMENTS = """\
gradio>=6.31,<7
transformers>=5.18,<6
torch>=2.11,<2.13
numpy>=2,<3
soundfile>=0.13,<0.15
soxr>=1.0,<2
silero-vad>=6.2,<7
praatio>=6.2,<7
"""
# The files of the page, and where they are in hub_cards.
PAGE_FILES = {
    "app.py": "space_app.py",
    "model.py": "space_model.py",
    "picture.py": "space_picture.py",
    "turns.py": "space_turns.py",
}
# The file of a page on this machine that takes the place of model.py.
LOCAL_MODEL = "demo_model.py"
OPENSMILE = "opensmile>=2.6,<3\n"
TAGS = ["speech-emotion-recognition", "audio-classification", "ser_hf"]
MODEL_LINK = "Model and card"


@dataclasses.dataclass(frozen=True)
class Demo:
    """The content of a Space.

    Args:
        model: a Hub id, or a folder for a page on this machine.
        window: seconds of evaluation windows (`evaluation.window` of the model's recipe).
        report_page: a URL or path.
        label_names: the names of the outputs, in place of those of the model.
        local: a page on this machine, which loads the model by ser_hf, as `ser-hf predict` does.
            A Space loads it by transformers.
    """

    model: str
    report: Report | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    window: float | None = None
    report_page: str | None = None
    label_names: Sequence[str] | None = None
    local: bool = False


@dataclasses.dataclass(frozen=True)
class SpaceFacts:
    """The content of facts.json, which the page reads.

    Args:
        model: a Hub id or a folder.
        revision: the commit of a model on the Hub.
        window: the length of evaluation windows in seconds.
        title: the title of the page.
        headline: the main metrics in one sentence.
        leak: an explanation of the leak, if the protocol is leaky.
        limits: the warnings of the page.
        colors: a color for each label.
        links: URLs, by the text of the link.
        label_names: the names of the outputs on a page of this machine; None for the model's.
    """

    model: str
    revision: str | None
    trust_remote_code: bool
    window: float | None
    title: str
    headline: str | None
    leak: str | None
    limits: list[str]
    colors: Mapping[str, str]
    links: dict[str, str]
    label_names: list[str] | None = None


def write_space(folder: str | Path, demo: Demo) -> Path:
    """Write a Gradio Space: its page, requirements.txt, README.md and facts.json.

    An existing Space is replaced.

    Args:
        folder: the folder of the Space.
        demo: the model and the content of the page.

    Raises:
        UserError: if the folder has other files.
    """
    folder = Path(folder)
    report = demo.report
    _require_replaceable(folder)
    on_hub = not Path(demo.model).exists()
    facts = _facts(demo, on_hub)
    requirements = REQUIREMENTS
    if report and "openSMILE" in report.model.preparation:
        requirements += OPENSMILE
    with atomic_folder(folder, "folder") as partial:
        for name, source in PAGE_FILES.items():
            file = LOCAL_MODEL if demo.local and name == "model.py" else source
            (partial / name).write_bytes((packaged("hub_cards") / file).read_bytes())
        (partial / "requirements.txt").write_text(requirements, encoding="utf-8")
        write_json(partial / "facts.json", dataclasses.asdict(facts))
        (partial / "README.md").write_text(_readme(facts, on_hub), encoding="utf-8")
    return folder


def _require_replaceable(folder: Path) -> None:
    """Refuse a path that holds other files than a Space; a Space has a file facts.json."""
    if not folder.exists() or (folder / "facts.json").is_file():
        return
    if folder.is_file() or any(folder.iterdir()):
        raise UserError(f"{folder}: contains files that are not a Space; choose another folder")


def _facts(demo: Demo, on_hub: bool) -> SpaceFacts:
    """Return the content of facts.json, with a link to a model on the Hub."""
    report = demo.report
    links = {}
    if on_hub:
        links[MODEL_LINK] = f"{constants.ENDPOINT}/{demo.model}"
    if demo.report_page:
        links["Report"] = demo.report_page
    return SpaceFacts(
        model=demo.model,
        revision=demo.revision,
        trust_remote_code=demo.trust_remote_code,
        window=demo.window,
        title=report.name if report else Path(demo.model).name,
        headline=headline(report) if report else None,
        leak=leak_warning(report) if report else None,
        limits=LIMITS,
        colors=EMOTION_COLORS,
        links=links,
        label_names=None if demo.label_names is None else list(demo.label_names),
    )


def _readme(facts: SpaceFacts, on_hub: bool) -> str:
    """Return the text of README.md, the card of the Space."""
    data = SpaceCardData(
        title=facts.title,
        emoji="🎙️",
        colorFrom="blue",
        colorTo="gray",
        sdk="gradio",
        sdk_version=GRADIO,
        python_version=PYTHON,
        app_file="app.py",
        license="apache-2.0",
        models=[facts.model] if on_hub else None,
        tags=TAGS,
        short_description="Try a speech emotion recognition model",
    )
    values = dataclasses.asdict(facts)
    values["card_data"] = data.to_yaml()
    values["link"] = facts.links.get(MODEL_LINK)
    return markdown("space.md", values)
