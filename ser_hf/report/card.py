"""Model cards and the report in Markdown: a report's facts, poured into the templates of hub_cards/."""

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
from . import text as words
from . import views
from .citations import license_metadata, license_text, linked, network_words, works
from .report import judged_people
from .text import listed

# What the Hub calls the metrics that `model-index` has, and how they are averaged.
TYPES = {
    "uar": ("recall", {"average": "macro"}),
    "wa": ("accuracy", None),
    "macro_f1": ("f1", {"average": "macro"}),
}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def hub_page(repo: str, kind: str = "") -> str:
    """The address of a repository; `kind` is ``datasets`` or ``spaces`` for what is no model."""
    return "/".join(filter(None, ["https://huggingface.co", kind, repo]))


def card_data(
    report: Mapping[str, Any],
    corpus: Mapping[str, Any],
    corpora: Sequence[Mapping[str, Any]],
    *,
    judged: Sequence[Mapping[str, Any]] = (),
    base_model: str | None = None,
    datasets: Sequence[str] = (),
    hub_id: str | None = None,
    report_repo: str | None = None,
) -> ModelCardData:
    """The front matter of a model's card.

    Args:
        report: of the run whose weights these are.
        corpus, corpora: what `ser_hf.corpora` says of the training data as a whole, and of each corpus.
        judged: of each corpus whose clips judged it; by default those that it learnt from.
        base_model: Hub id of the checkpoint that it was fine-tuned from. Adapters are merged into the weights, so
            that the relation is ``finetune`` with them too.
        datasets: Hub ids of what it learnt from.
        hub_id: the model's own.
        report_repo: the data set on the Hub that holds the report.
    """
    told: dict[str, Any] = license_metadata(corpora, hub_id and hub_page(hub_id))
    if base_model:
        told |= {"base_model": base_model, "base_model_relation": "finetune"}
    emissions = _emissions(report)
    if emissions:
        told["co2_eq_emissions"] = emissions
    return ModelCardData(
        language=corpus["language"],
        library_name="transformers",
        pipeline_tag="audio-classification",
        tags=["speech-emotion-recognition", "audio-classification", "ser_hf"],
        datasets=list(datasets) or None,
        metrics=list(dict.fromkeys(kind for kind, _ in TYPES.values())),
        model_name=report["name"],
        eval_results=index(report, judged or corpora, datasets, report_repo),
        **told,
    )


def index(
    report: Mapping[str, Any],
    judged: Sequence[Mapping[str, Any]],
    datasets: Sequence[str] = (),
    report_repo: str | None = None,
) -> list[EvalResult]:
    """`model-index`: UAR, WA and macro-F1, the Hub's words for their types, the field's for their names, on the
    corpora that judged, and under which protocol, which a leaky one says in every name."""
    protocol = report["protocol"]
    under = protocol["name"] + (", leaky" if protocol["leak"] else "")
    arguments = {"protocol": protocol["name"], "fold": protocol.get("fold"), "split_sha256": protocol["sha256"]}
    source = {"source_name": "Evaluation report", "source_url": hub_page(report_repo, "datasets")}
    return [
        EvalResult(
            task_type="audio-classification",
            task_name="Speech emotion recognition",
            dataset_type=_type(judged, datasets),
            dataset_name=f"{listed([one['title'] for one in judged])}, {under}",
            dataset_split=report["judged_on"],
            dataset_args={name: value for name, value in arguments.items() if value},
            metric_type=kind,
            metric_name=f"{NAMES[metric]} ({under})",
            metric_value=round(report["metrics"][metric], 4),
            metric_args=averaged,
            **(source if report_repo else {}),
        )
        for metric, (kind, averaged) in TYPES.items()
    ]


def _type(judged: Sequence[Mapping[str, Any]], datasets: Sequence[str]) -> str:
    """The Hub's id of what judged, where that is one data set that has one; our own name of it otherwise."""
    if len(judged) > 1:
        return "mixture"
    return datasets[0] if len(datasets) == 1 and judged[0]["name"] == "hub" else judged[0]["name"]


def is_hub_id(location: str) -> bool:
    """Whether it reads as USER/NAME does; a folder may."""
    return _HUB_ID.fullmatch(location) is not None


def _emissions(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """Grams, as the Hub counts them; None where nobody said on which grid."""
    energy = report.get("energy") or {}
    if energy.get("emissions_kg") is None:
        return None
    machine = report["environment"]
    return {
        "emissions": float(f"{1000 * energy['emissions_kg']:.3g}"),
        "source": energy["measured_by"],
        "training_type": "fine-tuning" if report["model"].get("checkpoint") else "training from scratch",
        "geographical_location": energy["country"],
        "hardware_used": machine["accelerator"] or machine["processor"],
    }


_LANGUAGES = {"en": "English", "de": "German", "zh": "Mandarin", "fr": "French", "it": "Italian", "es": "Spanish"}


@functools.cache
def templates() -> jinja2.Environment:
    """The templates of hub_cards/: installed with the package, or beside it in a checkout."""
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
        "counted": words.counted,
    }
    return environment


def cell(text: object) -> str:
    """What tables of others call something, as one cell of a Markdown table: nothing in it ends the cell, begins code
    or HTML, or breaks the line."""
    return re.sub(r"([\\|`<])", r"\\\1", " ".join(str(text).split()))


def _figure(value: float | None) -> str:
    """Three digits; a dash for what the clips leave undefined."""
    return "–" if value is None else f"{value:.3f}"


def _ends(interval: Sequence[float] | None) -> str:
    return "–" if interval is None else "{:.3f} to {:.3f}".format(*interval)


def report_page(report: Mapping[str, Any], *, model: str | None = None, space: str | None = None) -> str:
    """The report in Markdown, as people read it on a Hub page or in a file browser; its pictures stand beside it.

    Args:
        model, space: Hub ids of the model that it is about, and of its demonstration.
    """
    pages = {"model_page": model and hub_page(model), "space": space and hub_page(space, "spaces")}
    return _tidy(templates().get_template("report.md").render(_filled(report), **pages))


def model_card(
    report: Mapping[str, Any],
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
) -> ModelCard:
    """The card of a judged model; `ser_hf.report.card` makes it of a run's files.

    Args:
        report: as `ser_hf.report.report` writes it.
        corpus: what `ser_hf.corpora.corpus_facts` says of the training data.
        location: what `pipeline(model=...)` is to load: a folder or a Hub id.
        architecture: one sentence about the network.
        remote_code: whether loading needs `trust_remote_code`.
        sampling_rate: Hz.
        recipe: the resolved recipe as YAML.
        base_model: Hub id of the checkpoint it was fine-tuned from.
        corpora: what `ser_hf.corpora.corpora_facts` says of each corpus.
        judged: the same of each corpus whose clips judged it; by default those that it learnt from.
        about: more about the network, a paragraph or several.
        works: whom to cite for it.
        datasets: Hub ids of what it learnt from.
        hub_id: where it is published; None for a folder.
        report_repo, space: Hub ids of its report and of its demonstration.
        pictures: addresses of pictures, relative to the card, by the name that the report's folder gives them.
    """
    corpora = corpora or [corpus]
    settings = {"judged": judged, "base_model": base_model, "datasets": datasets}
    settings |= {"hub_id": hub_id, "report_repo": report_repo}
    text = (
        templates()
        .get_template("model_card.md")
        .render(
            _filled(report),
            card_data=card_data(report, corpus, corpora, **settings).to_yaml(),
            corpus=corpus,
            corpora_facts=corpora,
            told_languages=_languages(corpus["language"]),
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
            cost=_cost(report),
            cite=views.cite(report, corpus),
        )
    )
    return ModelCard(_tidy(text))


def _filled(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report with what templates ask for and not every report has."""
    absent = {"over": None, "pooled": None, "seeds": None, "foil": None, "temperatures": None, "slices": {}}
    over = report.get("over") or {}
    kinds = list(dict.fromkeys(kind for counts in report["audit"]["shared"].values() for kind in counts))
    protocol = {"folds": None, "fold": None, **report["protocol"]}
    temperature = report.get("temperature")
    if temperature and at_limit(temperature["value"]):  # a warning tells of that
        temperature = None
    made = {
        "names": NAMES,
        "definitions": DEFINITIONS,
        "headline": HEADLINE,
        "judged_people": judged_people(report),
        "chance": words.chance_of(report),
        "kinds": kinds,
        "protocol": protocol,
        "model": {"depth": "", "adapter": False, "preparation": "", **report["model"]},
        "temperature": temperature,
        "temperatures": report.get("temperatures") or over.get("temperatures"),
        "folded": bool(protocol["folds"]) or over.get("kind") == "fold",
        "sliced": views.slices(report) or [],
        "robust": _robustness(report.get("robustness")),
        "robust_runs": _robustness(over.get("robustness")),
    }
    return {**absent, **report, **made}


def _robustness(own: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Means over all conditions and over those of each kind, and the worst of them."""
    if not own or not own["conditions"]:
        return None
    by_kind: dict[str, list[Mapping[str, Any]]] = {}
    for condition in own["conditions"]:
        by_kind.setdefault(condition["kind"], []).append({"interval": None, **condition})
    told = {kind: _conditions(conditions) for kind, conditions in by_kind.items()}
    everything = _conditions([condition for conditions in by_kind.values() for condition in conditions])
    return {
        **everything,
        "clips": own["clips"],
        "clean": own["clean"]["uar"],
        "runs": own["settings"].get("runs", 1),
        "kinds": [{"kind": kind.replace("_", " "), **row} for kind, row in told.items()],
    }


def _conditions(conditions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    mean = sum(condition["uar"] for condition in conditions) / len(conditions)
    worst = min(conditions, key=lambda condition: condition["uar"])
    return {"conditions": len(conditions), "mean": mean, "worst": worst, "change": round(-worst["drop"], 3) + 0.0}


def _cost(report: Mapping[str, Any]) -> dict[str, str]:
    """What the weights took, and all runs together where there were several."""
    told = dict(views.cost(report) or {})
    if told.get("Of them learnt") == told.get("Parameters"):
        told.pop("Of them learnt", None)
    over = report.get("over") or {}
    together = {
        "Training of all runs": views.duration(over.get("seconds")),
        "Energy of all runs": views.energy(over.get("energy")),
    }
    return told | {name: value for name, value in together.items() if value}


def _languages(codes: str | Sequence[str] | None) -> str:
    """ "English", "English and German", "4 languages"; nothing where nobody told."""
    own = [codes] if isinstance(codes, str) else list(codes or ())
    if len(own) > 3:
        return f"{len(own)} languages"
    return words.listed([_LANGUAGES.get(code, f"the language {code}") for code in own])


def _tidy(text: str) -> str:
    """Sections that were left out leave one empty line, not several."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def public(values: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe or report as others may read it: no path of this machine, of which they learn nothing."""
    told = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            told[key] = public(value)
        elif isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
            told[key] = [public(item) for item in value]  # the corpora of a mixture
        elif key not in ("output_dir", "cache_dir"):
            told[key] = Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
    return told


def public_name(checkpoint: str) -> str:
    """A Hub id as it is; of a folder or file on this machine only its own name."""
    return Path(checkpoint).name if Path(checkpoint).exists() else checkpoint


# What a card shows, in the words of the report's folder.
PICTURES = ("confusion_matrix", "confusion_by_corpus", "robustness", "reliability")


def card_of_run(
    run: str | Path, location: str, report_repo: str | None = None, space: str | None = None, pictures: bool = True
) -> ModelCard:
    """The card of the weights that a finished run leaves in model/.

    Args:
        location: what its readers load: a Hub id, or a folder.
        report_repo, space: Hub ids of the report and of the demonstration, which the card then links.
        pictures: whether it shows those of `card_pictures`, which are to stand beside it.

    Raises:
        UserError: if the folder holds no run that was judged.
    """
    files = card_pictures(run) if pictures else []
    return card_from(
        run_report(run),
        read_yaml(RunFolder(run).recipe),
        location,
        hub_id=location if is_hub_id(location) and not Path(location).exists() else None,
        report_repo=report_repo,
        space=space,
        pictures={file.stem: file.name for file in files},
    )


def card_pictures(run: str | Path) -> list[Path]:
    """Files of the pictures that `card_of_run` shows: those of the weights in model/, not of several runs' mean."""
    report = _chosen(run)[0].report
    return [path for name in PICTURES if (path := report / f"{name}.png").is_file()]


def run_report(run: str | Path) -> dict[str, Any]:
    """The report of the weights that a finished run leaves in model/; of several seeds or folds with what all of them
    found (`of_several`)."""
    place, numbers = _chosen(run)
    report = RunFolder(run).read_report()
    if not numbers:
        return report
    return of_several(report, place.read_report(), numbers)


def of_several(report: Mapping[str, Any], own: Mapping[str, Any], numbers: list[int]) -> dict[str, Any]:
    """A run's `own` report, with what the `report` over all runs says of them: `over`, `pooled` and `foil`.

    Args:
        numbers: which run it is: of a fold or seed, or of a fold and, in it, of a seed.
    """
    folds = report["protocol"].get("folds")
    over = {
        "kind": "fold" if folds else "seed",
        "chosen": ", seed ".join(map(str, numbers)),
        "runs": {number: one["metrics"] for number, one in (folds or report["seeds"]).items()},
        "seconds": report["seconds"]["training"],
    }
    over |= {key: report[key] for key in ("metrics", "deviations", "intervals")}
    over |= {key: report[key] for key in ("temperatures", "robustness", "energy") if report.get(key)}
    return {**own, "over": over, "pooled": report.get("pooled"), "foil": report.get("foil")}


def card_from(
    report: Mapping[str, Any],
    recipe: Mapping[str, Any],
    location: str,
    **published: Any,
) -> ModelCard:
    """As `card_of_run`, of what its files hold.

    Args:
        report: as `run_report` gives it.
        recipe: resolved, as recipe.yaml holds it.
        published: `hub_id`, `report_repo`, `space` and `pictures` of `ser_hf.report.card.model_card`.
    """
    model, corpus = report["model"], recipe["corpus"]
    options = {key: value for key, value in corpus.items() if key in corpus_options(corpus["name"])}
    learnt, judged = _corpora(report, "train", "validation"), _corpora(report, report["judged_on"])
    sentence, about = network_words(model["architecture"])
    if model.get("origin"):
        sentence += " Its encoder starts from {file} ({source}, licence: {licence}).".format(**model["origin"])
    shown = public({key: value for key, value in recipe.items() if key != "provenance"})
    return model_card(
        report,
        corpus=corpus_facts(corpus["name"], options, learnt),
        corpora=corpora_facts(corpus["name"], options, learnt),
        judged=corpora_facts(corpus["name"], options, judged),
        location=location,
        architecture=sentence or _encoder(report, recipe["model"]),
        about=about,
        remote_code=model["remote_code"],
        sampling_rate=model.get("sampling_rate", recipe["audio"]["sampling_rate"]),
        recipe=dump_yaml(shown),
        base_model=_base_model(report, recipe["model"]),
        works=works(recipe, model.get("encoder") or model["model_type"]),
        datasets=_datasets(corpus),
        **published,
    )


def _chosen(run: str | Path) -> tuple[RunFolder, list[int]]:
    """The run below `run` whose weights stand in its model/, and its numbers; `run` itself where it is one run."""
    folder, numbers = RunFolder(run), []
    while True:
        if not folder.complete:
            raise UserError(f"{folder.path}: no run that was judged; it has no report/report.json")
        report = folder.read_report()
        kind = next((kind for kind in ("fold", "seed") if f"chosen_{kind}" in report), None)
        if kind is None:
            return folder, numbers
        numbers.append(report[f"chosen_{kind}"])
        folder = folder.child(f"{kind}-{numbers[-1]}")


def _corpora(report: Mapping[str, Any], *parts: str) -> set[str]:
    """Names of the corpora whose speakers stand in these parts."""
    told = report["protocol"]["parts"]
    return {name.partition(":")[0] for part in parts for name in told[part]["speakers"]}


def _encoder(report: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """One sentence about a speech encoder of transformers and the head on it."""
    model = report["model"]
    name, base = public_name(asked["checkpoint"]), _base_model(report, asked)
    start = f"[{base}]({hub_page(base)})" if base else f"`{name}`"
    origin = f"of the shape of `{name}`, from random numbers" if asked["random_init"] else f"from {start}"
    head = ["a learnt sum of all its layers" if asked["weighted_layer_sum"] else "its last layer"]
    head += [f"pooled by {asked['pooling'].replace('_', ' ')}"] if asked["pooling"] else []
    head += [f"through hidden layers of {', '.join(map(str, asked['head_layers']))}"] if asked["head_layers"] else []
    more = f" The classifier hears {', '.join(head)}." if head != ["its last layer"] else ""
    return f"Its encoder is {model.get('encoder') or model['model_type']} {origin}.{more}"


def _base_model(report: Mapping[str, Any], asked: Mapping[str, Any]) -> str | None:
    """The Hub id of the checkpoint; a folder or file on this machine is nobody else's base model."""
    if "base_model" in report["model"]:
        return report["model"]["base_model"]
    checkpoint = report["model"].get("checkpoint")  # of an older report
    if not checkpoint or asked["random_init"] or Path(checkpoint).exists():
        return None
    return checkpoint if is_hub_id(checkpoint) else None


def _datasets(corpus: Mapping[str, Any]) -> list[str]:
    items = corpus["corpora"] if corpus["name"] == "mixture" else [corpus]
    return [item["dataset"] for item in items if item["name"] == "hub" and item.get("dataset")]
