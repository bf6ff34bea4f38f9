"""A Space: the page on which people try a model in their browser, as files that need nothing of ser_hf."""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import SpaceCardData, constants

from ..errors import UserError
from ..evaluation.report import judged_people
from ..whole import whole_folder

# The versions that the page was made for and is tested with; requirements.txt has the ranges of what else it needs.
GRADIO, PYTHON = "6.31.0", "3.12"
REQUIREMENTS = """\
gradio>=6.31,<7
transformers>=5.18,<6
torch>=2.11,<2.13
numpy>=2
soundfile>=0.13
soxr>=1.0
"""
README = """\
---
{{ card_data }}
---

# {{ title }}

A page to try {% if link %}[{{ model }}]({{ link }}){% else %}`{{ model }}`{% endif %}: record or upload speech, or
watch its answers while you speak. Recordings are heard by this Space alone, and deleted.
{% if leak %}
> {{ leak }}
{% endif %}{% if headline %}
{{ headline }}
{% endif %}
{%- for paragraph in limits %}
{{ paragraph }}
{% endfor %}
"""
AUDIO = (".wav", ".flac", ".mp3", ".ogg")


def write_space(
    folder: str | Path,
    model: str,
    *,
    report: Mapping[str, Any] | None = None,
    corpus: Mapping[str, Any] | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    window: float | None = None,
    report_page: str | None = None,
    examples: Sequence[str | Path] = (),
) -> Path:
    """Writes a Gradio Space that hears recordings with a model: app.py, requirements.txt, README.md, facts.json.

    Args:
        folder: becomes the repository of the Space; a Space that stands there is replaced.
        model: what ``pipeline(model=...)`` is to load: a Hub id, or a folder for a page on this machine.
        report: as report.json beside the model holds it, for the headline and what the page warns of.
        corpus: what `ser_hf.corpora.corpus_facts` says of the training data, for its warnings.
        revision: the commit of the model that is to be loaded, and whose code is to be run.
        trust_remote_code: whether the model needs code of its own.
        window: seconds of the windows that it was judged in (`evaluation.window` of its recipe).
        report_page: address of its report, or where it lies on this machine.
        examples: audio files to offer; no corpus's licence is asked about, so choose your own.

    Raises:
        UserError: if `folder` holds what is no Space, or an example is not there or of another format.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / "facts.json").is_file() and (folder.is_file() or any(folder.iterdir())):
        raise UserError(f"{folder}: holds files that are no Space's; choose another folder")
    for path in map(Path, examples):
        if not path.is_file() or path.suffix.lower() not in AUDIO:
            wrong = "no such file" if not path.is_file() else f"an example is one of {', '.join(AUDIO)}"
            raise UserError(f"{path}: {wrong}")
    shared = not Path(model).is_dir()
    facts = {
        "model": model,
        "revision": revision,
        "trust_remote_code": trust_remote_code,
        "window": window,
        "title": report["name"] if report else Path(model).name,
        "headline": headline(report) if report else None,
        "leak": _leak(report) if report else None,
        "limits": limits(report, corpus),
        "links": _links(model if shared else None, report_page),
    }
    with whole_folder(folder, "folder") as partial:
        shutil.copyfile(Path(__file__).with_name("space_app.py"), partial / "app.py")
        (partial / "requirements.txt").write_text(REQUIREMENTS, encoding="utf-8")
        (partial / "facts.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (partial / "README.md").write_text(_readme(facts, shared), encoding="utf-8")
        for number, path in enumerate(map(Path, examples), 1):
            (partial / "examples").mkdir(exist_ok=True)
            shutil.copyfile(path, partial / "examples" / f"{number} {path.name}")
    return folder


def headline(report: Mapping[str, Any]) -> str:
    """How good the model is, in one sentence that says on whom, and how sure that is."""
    metrics, interval = report["metrics"], report["intervals"].get("uar")
    between = "{:.3f} to {:.3f}".format(*interval) if interval else None
    sure = f" ({100 * report['confidence']:g} % interval {between})" if between else ""
    protocol = report["protocol"]["name"]
    return (
        f"UAR {metrics['uar']:.3f}{sure}, macro-F1 {metrics['macro_f1']:.3f} on {judged_people(report)} "
        f"(protocol {protocol})."
    )


def limits(report: Mapping[str, Any] | None, corpus: Mapping[str, Any] | None) -> list[str]:
    """What the model is not for, as paragraphs; what it learnt from, as far as that is known."""
    told = []
    if corpus is None:
        told.append("Its own card says what it learnt from, and how good it is.")
    elif corpus["name"] == "synthetic":
        told.append("It learnt from synthetic signals, not from people: it serves tests and demonstrations only.")
    else:
        kind = "acted emotions" if corpus["acted"] else "emotions"
        speakers = report["protocol"]["parts"].get("train", {}).get("speakers") if report else None
        of = f" of {len(speakers)} speakers" if speakers else ""
        told.append(
            f"It learnt {kind}{of} from {corpus['title']}. Expect less on "
            f"{'spontaneous speech, ' if corpus['acted'] else ''}other languages, telephones and noise."
        )
    told.append(
        "A voice does not prove a feeling: do not decide about people by these answers. In the European Union, "
        "inferring emotions at work and in education is prohibited but for medical or safety reasons (Regulation (EU) "
        "2024/1689, article 5(1)(f)); elsewhere those who are exposed to it have to be told (article 50(3))."
    )
    if corpus and corpus["non_commercial"]:
        told.append("The licence of its training data forbids commercial use.")
    return told


def _leak(report: Mapping[str, Any]) -> str | None:
    protocol = report["protocol"]
    return f"Judged under a leaky protocol ({protocol['name']}). {protocol['leak']}" if protocol["leak"] else None


def _links(model: str | None, report_page: str | None) -> dict[str, str]:
    links = {"The model and its card": model and f"{constants.ENDPOINT}/{model}", "Its report": report_page}
    return {word: address for word, address in links.items() if address}


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
        short_description="Hear what a speech emotion recogniser says of a voice",
    )
    template = jinja2.Template(README, undefined=jinja2.StrictUndefined)
    text = template.render(facts, card_data=data.to_yaml(), link=facts["links"].get("The model and its card"))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
