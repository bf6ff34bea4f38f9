"""Model cards and the report in Markdown, from the templates in hub_cards/."""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..corpora import corpora_facts, corpus_facts, corpus_options
from ..evaluation.calibration import at_limit
from ..evaluation.metrics import DEFINITIONS, HEADLINE, NAMES
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from ..utils.yaml import dump_yaml, read_yaml
from . import views
from .citations import license_metadata, license_text, linked, network_words, works
from .report import Condition, Report, Robustness, read_report
from .views import evaluated_speakers, listed

# The metrics of `model-index`: type on the Hub, and averaging.
TYPES = {
    "uar": ("recall", {"average": "macro"}),
    "wa": ("accuracy", None),
    "macro_f1": ("f1", {"average": "macro"}),
}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def hub_page(repo: str, kind: str = "") -> str:
    """The address of a repository; `kind` is empty for models, or ``datasets`` or ``spaces``."""
    return "/".join(filter(None, ["https://huggingface.co", kind, repo]))


def card_data(
    report: Report,
    corpus: Mapping[str, Any],
    corpora: Sequence[Mapping[str, Any]],
    *,
    judged: Sequence[Mapping[str, Any]] = (),
    base_model: str | None = None,
    datasets: Sequence[str] = (),
    hub_id: str | None = None,
    report_repo: str | None = None,
) -> ModelCardData:
    """The metadata of a model card; the arguments are those of `model_card`. Adapters are merged into the weights, so
    the relation to the base model is ``finetune`` with them too."""
    more: dict[str, Any] = license_metadata(corpora, hub_id and hub_page(hub_id))
    if base_model:
        more |= {"base_model": base_model, "base_model_relation": "finetune"}
    if emissions := _emissions(report):
        more["co2_eq_emissions"] = emissions
    return ModelCardData(
        language=corpus["language"],
        library_name="transformers",
        pipeline_tag="audio-classification",
        tags=["speech-emotion-recognition", "audio-classification", "ser_hf"],
        datasets=list(datasets) or None,
        metrics=list(dict.fromkeys(kind for kind, _ in TYPES.values())),
        model_name=report.name,
        eval_results=index(report, judged or corpora, datasets, report_repo),
        **more,
    )


def index(
    report: Report,
    judged: Sequence[Mapping[str, Any]],
    datasets: Sequence[str] = (),
    report_repo: str | None = None,
) -> list[EvalResult]:
    """`model-index`: UAR, WA and macro-F1 on the evaluated corpora. Types are the Hub's, names are the field's; each
    name contains the protocol and whether it is leaky."""
    protocol = report.protocol
    under = protocol.name + (", leaky" if protocol.leak else "")
    arguments = {"protocol": protocol.name, "fold": protocol.fold, "split_sha256": protocol.sha256}
    source = {"source_name": "Evaluation report", "source_url": hub_page(report_repo, "datasets")}
    if len(judged) > 1:
        dataset_type = "mixture"
    else:
        dataset_type = datasets[0] if len(datasets) == 1 and judged[0]["name"] == "hub" else judged[0]["name"]
    return [
        EvalResult(
            task_type="audio-classification",
            task_name="Speech emotion recognition",
            dataset_type=dataset_type,
            dataset_name=f"{listed([one['title'] for one in judged])}, {under}",
            dataset_split=report.judged_on,
            dataset_args={name: value for name, value in arguments.items() if value},
            metric_type=kind,
            metric_name=f"{NAMES[metric]} ({under})",
            metric_value=round(report.metrics[metric], 4),
            metric_args=averaged,
            **(source if report_repo else {}),
        )
        for metric, (kind, averaged) in TYPES.items()
    ]


def is_hub_id(location: str) -> bool:
    """Whether it has the form USER/NAME; a folder may have it too."""
    return _HUB_ID.fullmatch(location) is not None


def _emissions(report: Report) -> dict[str, Any] | None:
    """CO2 emissions as the Hub describes them, in grams; None without a country."""
    energy = report.energy
    if energy is None or energy.emissions_kg is None:
        return None
    return {
        "emissions": float(f"{1000 * energy.emissions_kg:.3g}"),
        "source": energy.measured_by,
        "training_type": "fine-tuning" if report.model.checkpoint else "training from scratch",
        "geographical_location": energy.country,
        "hardware_used": report.environment.accelerator or report.environment.processor,
    }


_LANGUAGES = {"en": "English", "de": "German", "zh": "Mandarin", "fr": "French", "it": "Italian", "es": "Spanish"}


@functools.cache
def templates() -> jinja2.Environment:
    """The templates in hub_cards/: installed with the package, or beside it in a checkout."""
    try:
        folder = resources.files("ser_hf.hub_cards")
    except ModuleNotFoundError:
        folder = Path(__file__).parents[2] / "hub_cards"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML
    )
    environment.filters |= {
        "figure": _figure,
        "ends": _ends,
        "cell": cell,
        "licence": license_text,
        "counted": views.counted,
    }
    return environment


def cell(text: object) -> str:
    """Text as one cell of a Markdown table: escaped, in one line."""
    return re.sub(r"([\\|`<])", r"\\\1", " ".join(str(text).split()))


def _figure(value: float | None) -> str:
    """Three digits; a dash for an undefined score."""
    return "–" if value is None else f"{value:.3f}"


def _ends(interval: Sequence[float] | None) -> str:
    """Both ends of an interval."""
    return "–" if interval is None else "{:.3f} to {:.3f}".format(*interval)


def report_page(report: Report, *, model: str | None = None, space: str | None = None) -> str:
    """The report in Markdown, with links to the pictures beside it.

    Args:
        model, space: Hub ids of the model and of its demo.
    """
    pages = {"model_page": model and hub_page(model), "space": space and hub_page(space, "spaces")}
    return _tidy(templates().get_template("report.md").render(template_values(report), **pages))


@dataclasses.dataclass(frozen=True)
class Runs:
    """All folds or seeds of a run, and the one whose weights a card describes.

    Args:
        report: over all of them.
        own: of the run with the published weights.
        numbers: of that run: a fold or seed, or a fold and a seed of it.
    """

    report: Report
    own: Report
    numbers: Sequence[int]

    @property
    def kind(self) -> str:
        return "fold" if self.report.protocol.folds else "seed"

    @property
    def chosen(self) -> str:
        return ", seed ".join(map(str, self.numbers))


def model_card(
    report: Report,
    *,
    corpus: Mapping[str, Any],
    location: str,
    architecture: str,
    remote_code: bool,
    sampling_rate: int,
    recipe: str,
    base_model: str | None = None,
    corpora: Sequence[Mapping[str, Any]] = (),
    judged: Sequence[Mapping[str, Any]] = (),
    about: str = "",
    works: Sequence[str] = (),
    datasets: Sequence[str] = (),
    hub_id: str | None = None,
    report_repo: str | None = None,
    space: str | None = None,
    pictures: Mapping[str, str] | None = None,
    runs: Runs | None = None,
) -> ModelCard:
    """The card of an evaluated model. `card_from` makes it of a report and a recipe.

    Args:
        corpus: facts of the training data, see `ser_hf.corpora.corpus_facts`.
        location: what `pipeline(model=...)` loads: a folder or a Hub id.
        recipe: the resolved recipe as YAML.
        base_model: Hub id of the checkpoint it was fine-tuned from.
        corpora, judged: facts of each training corpus and of each evaluated corpus.
        about, works: more paragraphs about the network, and publications to cite for it.
        datasets, report_repo, space: Hub ids of the training data, the report and the demo.
        hub_id: where it is published; None for a folder.
        pictures: addresses of pictures relative to the card, by name.
        runs: all folds or seeds, if the weights are those of one of them.
    """
    corpora = corpora or [corpus]
    settings = {"judged": judged, "base_model": base_model, "datasets": datasets}
    settings |= {"hub_id": hub_id, "report_repo": report_repo}
    text = (
        templates()
        .get_template("model_card.md")
        .render(
            template_values(report, runs),
            card_data=card_data(report, corpus, corpora, **settings).to_yaml(),
            corpus=corpus,
            corpora_facts=corpora,
            languages=_languages(corpus["language"]),
            location=location,
            architecture=linked(architecture),
            about=linked(about),
            remote_code=remote_code,
            base_model=base_model,
            sampling_rate=sampling_rate,
            recipe=recipe.strip(),
            works=[linked(work) for work in works],
            report_repo=report_repo and hub_page(report_repo, "datasets"),
            space=space and hub_page(space, "spaces"),
            pictures=pictures or {},
            cost=_cost(report, runs),
            cite=views.cite(report, corpus),
        )
    )
    return ModelCard(_tidy(text))


def template_values(report: Report, runs: Runs | None = None) -> dict[str, Any]:
    """The variables of the templates."""
    total = runs.report if runs else report
    temperature = report.temperature
    if temperature and at_limit(temperature.value):  # a warning describes it
        temperature = None
    return {
        **{name: getattr(report, name) for name in Report.model_fields},
        "over": runs,
        "pooled": total.pooled,
        "foil": total.foil,
        "names": NAMES,
        "definitions": DEFINITIONS,
        "headline": HEADLINE,
        "evaluated_speakers": evaluated_speakers(report),
        "chance": views.chance_of(report),
        "kinds": list(dict.fromkeys(kind for counts in report.audit.shared.values() for kind in counts)),
        "temperature": temperature,
        "temperatures": total.temperatures,
        "folded": bool(total.protocol.folds),
        "sliced": views.slices(report) or [],
        "robust": _robustness(report.robustness),
        "robust_runs": _robustness(runs.report.robustness) if runs else None,
    }


def _robustness(own: Robustness | None) -> dict[str, Any] | None:
    """Means and lowest scores over all conditions and over those of each kind."""
    if not own or not own.conditions:
        return None
    by_kind: dict[str, list[Condition]] = {}
    for condition in own.conditions:
        by_kind.setdefault(condition.kind, []).append(condition)
    return {
        **_conditions(own.conditions),
        "clips": own.clips,
        "clean": own.clean.uar,
        "runs": own.settings.get("runs", 1),
        "kinds": [{"kind": kind.replace("_", " "), **_conditions(some)} for kind, some in by_kind.items()],
    }


def _conditions(conditions: Sequence[Condition]) -> dict[str, Any]:
    mean = sum(condition.uar for condition in conditions) / len(conditions)
    worst = min(conditions, key=lambda condition: condition.uar)
    return {"conditions": len(conditions), "mean": mean, "worst": worst, "change": round(-worst.drop, 3) + 0.0}


def _cost(report: Report, runs: Runs | None) -> dict[str, str]:
    """Cost of the weights, and of all runs together if there are several."""
    cost = dict(views.cost(report) or {})
    if cost.get("Trainable parameters") == cost.get("Parameters"):
        cost.pop("Trainable parameters", None)
    if runs:
        cost["Training of all runs"] = views.duration(runs.report.seconds.training)
        cost["Energy of all runs"] = views.energy(runs.report.energy)
    return {name: value for name, value in cost.items() if value}


def _languages(codes: str | Sequence[str] | None) -> str:
    """ "English", "English and German", "4 languages"; empty if unknown."""
    own = [codes] if isinstance(codes, str) else list(codes or ())
    if len(own) > 3:
        return f"{len(own)} languages"
    return views.listed([_LANGUAGES.get(code, f"the language {code}") for code in own])


def _tidy(text: str) -> str:
    """The text without repeated empty lines."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def public(values: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe or report without paths of this machine."""
    found = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found[key] = public(value)
        elif isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
            found[key] = [public(item) for item in value]  # the corpora of a mixture
        elif key not in ("output_dir", "cache_dir"):
            found[key] = Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
    return found


def public_name(checkpoint: str) -> str:
    """A Hub id unchanged; of a local folder or file only the name."""
    return Path(checkpoint).name if Path(checkpoint).exists() else checkpoint


# Pictures on the card, by their names in the folder of the report.
PICTURES = ("confusion_matrix", "confusion_by_corpus", "robustness", "reliability")


def card_of_run(
    run: str | Path, location: str, report_repo: str | None = None, space: str | None = None, pictures: bool = True
) -> ModelCard:
    """The card of the weights in model/ of a finished run.

    Args:
        location: what readers load: a Hub id or a folder.
        report_repo, space: Hub ids of the report and of the demo, which the card links.
        pictures: whether it shows those of `card_pictures`, which must be beside it.

    Raises:
        UserError: if the folder is no finished run.
    """
    files = card_pictures(run) if pictures else []
    return card_from(
        _runs(run) or run_report(run),
        read_yaml(RunFolder(run).recipe),
        location,
        hub_id=location if is_hub_id(location) and not Path(location).exists() else None,
        report_repo=report_repo,
        space=space,
        pictures={file.stem: file.name for file in files},
    )


def _runs(run: str | Path) -> Runs | None:
    place, numbers = _chosen(run)
    if not numbers:
        return None
    return Runs(read_report(RunFolder(run).report / "report.json"), read_report(place.report / "report.json"), numbers)


def card_pictures(run: str | Path) -> list[Path]:
    """The picture files that `card_of_run` shows; they are of the run with the published weights."""
    report = _chosen(run)[0].report
    return [path for name in PICTURES if (path := report / f"{name}.png").is_file()]


def run_report(run: str | Path) -> Report:
    """The report of the weights in model/ of a finished run."""
    return read_report(_chosen(run)[0].report / "report.json")


def card_from(source: Report | Runs, recipe: Mapping[str, Any], location: str, **published: Any) -> ModelCard:
    """The card of a report and a recipe.

    Args:
        source: the report of the run with these weights, or all folds or seeds of which it is one.
        recipe: resolved, as in recipe.yaml.
        published: `hub_id`, `report_repo`, `space` and `pictures` of `model_card`.
    """
    runs = source if isinstance(source, Runs) else None
    report = source.own if isinstance(source, Runs) else source
    model, corpus = report.model, recipe["corpus"]
    options = {key: value for key, value in corpus.items() if key in corpus_options(corpus["name"])}
    trained_on, judged = _corpora(report, "train", "validation"), _corpora(report, report.judged_on)
    sentence, about = network_words(model.architecture)
    if model.origin:
        origin = model.origin
        sentence += f" Its encoder starts from {origin.file} ({origin.source}, license: {origin.licence})."
    shown = public({key: value for key, value in recipe.items() if key != "provenance"})
    return model_card(
        report,
        corpus=corpus_facts(corpus["name"], options, trained_on),
        corpora=corpora_facts(corpus["name"], options, trained_on),
        judged=corpora_facts(corpus["name"], options, judged),
        location=location,
        architecture=sentence or _encoder(report, recipe["model"]),
        about=about,
        remote_code=model.remote_code,
        sampling_rate=model.sampling_rate or recipe["audio"]["sampling_rate"],
        recipe=dump_yaml(shown),
        base_model=model.base_model,
        works=works(recipe, model.encoder or model.model_type),
        datasets=_datasets(corpus),
        runs=runs,
        **published,
    )


def _chosen(run: str | Path) -> tuple[RunFolder, list[int]]:
    """The run below `run` with the published weights, and its numbers; `run` itself if it is a single run."""
    folder, numbers = RunFolder(run), []
    while True:
        if not folder.complete:
            raise UserError(f"{folder.path}: no finished run; it has no report/report.json")
        chosen = read_report(folder.report / "report.json").chosen
        if chosen is None:
            return folder, numbers
        numbers.append(int(chosen.partition("-")[2]))
        folder = folder.child(chosen)


def _corpora(report: Report, *parts: str) -> set[str]:
    """Names of the corpora of the speakers in these splits."""
    return {name.partition(":")[0] for part in parts for name in report.protocol.parts[part].speakers}


def _encoder(report: Report, settings: Mapping[str, Any]) -> str:
    """One sentence about a speech encoder of transformers and its head."""
    model = report.model
    name, base = public_name(settings["checkpoint"]), model.base_model
    start = f"[{base}]({hub_page(base)})" if base else f"`{name}`"
    origin = f"with the architecture of `{name}`, randomly initialized" if settings["random_init"] else f"from {start}"
    head = ["a weighted sum of all its layers" if settings["weighted_layer_sum"] else "its last layer"]
    head += [f"pooled by {settings['pooling'].replace('_', ' ')}"] if settings["pooling"] else []
    layers = settings["head_layers"]
    head += [f"through hidden layers of {', '.join(map(str, layers))}"] if layers else []
    more = f" The input of the classifier is {', '.join(head)}." if head != ["its last layer"] else ""
    return f"Its encoder is {model.encoder or model.model_type} {origin}.{more}"


def _datasets(corpus: Mapping[str, Any]) -> list[str]:
    items = corpus["corpora"] if corpus["name"] == "mixture" else [corpus]
    return [item["dataset"] for item in items if item["name"] == "hub" and item.get("dataset")]
