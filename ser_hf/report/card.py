"""Model cards, written from the templates in hub_cards/."""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from markupsafe import Markup

from ..corpora import CorpusSettings, corpora_facts, corpus_facts, settings_class
from ..corpora.languages import hub_languages
from ..evaluation.metrics import NAMES, definitions
from ..utils.errors import UserError, printable
from ..utils.files import packaged
from ..utils.run_folder import RunFolder
from ..utils.yaml import dump_yaml
from . import selective, views
from .citations import OPENSMILE, license_metadata, license_text, linked, network_words, works
from .report import Report, read_report
from .saved_recipe import read_saved_recipe

# Names of the pictures that a card shows, as in the folder of the report.
PICTURES = (
    "confusion_matrix",
    "confusion_by_corpus",
    "dimensions",
    "robustness",
    "reliability",
    "embeddings_by_emotion",
)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def hub_page(repo: str, kind: str = "") -> str:
    """The address of a repository on the Hub.

    Args:
        kind: ``datasets`` or ``spaces``; empty for a model.
    """
    return "/".join(filter(None, ["https://huggingface.co", kind, repo]))


@functools.cache
def templates() -> jinja2.Environment:
    """The environment of the templates in hub_cards/."""
    folder = packaged("hub_cards")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML
        finalize=plain,
    )
    environment.filters |= views.FORMATS | {"cell": cell, "license": license_text}
    environment.globals |= {"views": views, "selective": selective, "names": NAMES}
    return environment


def plain(value: object) -> object:
    """Convert text of any origin to one line of Markdown that opens no tag, link or code.

    `Markup` and values that are not text stay unchanged.
    """
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return printable(value).replace("<", "&lt;").replace("`", "'").replace("](", "]\\(")


def markdown(template: str, values: Mapping[str, Any]) -> str:
    """Render a template of hub_cards/ with these values, without repeated empty lines."""
    text = templates().get_template(template).render(values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def cell(text: object) -> Markup:
    """Convert text to a cell of a Markdown table: escaped, in one line."""
    return Markup(re.sub(r"([\\|`<\[])", r"\\\1", " ".join(printable(str(text)).split())))


def report_values(report: Report) -> dict[str, Any]:
    """The variables of the templates: `report`, its fields, and words of its task.

    `over` is None here. If a card describes one of several runs, `model_card` sets it to `Runs`.
    """
    task = report.measured
    fields = {name: getattr(report, name) for name in Report.model_fields}
    return fields | {
        "report": report,
        "over": None,
        "measured": task,
        "main": task.main,
        "main_metrics": task.headline,
        "definitions": definitions(task),
    }


@dataclasses.dataclass(frozen=True)
class Runs:
    """All folds or seeds of a run, and the one whose weights a card describes.

    Args:
        report: the report over all runs.
        published: the report of the run with the published weights.
        numbers: the fold or seed of that run, or its fold and then its seed.
    """

    report: Report
    published: Report
    numbers: Sequence[int]

    @property
    def kind(self) -> str:
        return views.run_kind(self.report)

    @property
    def chosen(self) -> str:
        return ", seed ".join(map(str, self.numbers))


def card_of_run(
    run: str | Path,
    location: str,
    report_repo: str | None = None,
    space: str | None = None,
    pictures: bool = True,
) -> ModelCard:
    """The card of the weights in model/ of a finished run.

    Args:
        location: the Hub id or folder from which readers load the model.
        report_repo, space: Hub ids of the report and of the demo, to which the card links.
        pictures: whether the card shows the files of `card_pictures`, which must be in its folder.

    Raises:
        UserError: if the folder is not a finished run.
    """
    place, numbers = _chosen(run)
    source = read_report(place.report / "report.json")
    if numbers:
        over_runs = read_report(RunFolder(run).report / "report.json")
        source = Runs(report=over_runs, published=source, numbers=numbers)
    shown = [file.stem for file in card_pictures(run)] if pictures else []
    recipe = read_saved_recipe(RunFolder(run).recipe)
    return model_card(
        source, recipe, location, report_repo=report_repo, space=space, pictures=shown
    )


def card_pictures(run: str | Path) -> list[Path]:
    """The picture files that `card_of_run` shows: those of the run with the published weights."""
    report = _chosen(run)[0].report
    files = [report / f"{name}.png" for name in PICTURES]
    return [file for file in files if file.is_file()]


def run_report(run: str | Path) -> Report:
    """The report of the weights in model/ of a finished run."""
    return read_report(_chosen(run)[0].report / "report.json")


def _chosen(run: str | Path) -> tuple[RunFolder, list[int]]:
    """The run whose weights are published, and its fold or seed numbers.

    For a single run: the run itself, and no numbers. Otherwise: a run in a folder below it.
    """
    folder = RunFolder(run)
    numbers = []
    while True:
        if not folder.complete:
            raise UserError(f"{folder.path}: no finished run; it has no report/report.json")
        chosen = read_report(folder.report / "report.json").chosen
        if chosen is None:
            return folder, numbers
        numbers.append(int(chosen.partition("-")[2]))
        folder = folder.child(chosen)


def model_card(
    source: Report | Runs,
    recipe: Mapping[str, Any],
    location: str,
    *,
    report_repo: str | None = None,
    space: str | None = None,
    pictures: Sequence[str] = (),
) -> ModelCard:
    """The card of a report and a recipe.

    Args:
        source: the report of a single run, or `Runs` for a run with several folds or seeds.
        recipe: the resolved recipe, as in recipe.yaml.
        location: the folder or Hub id that `pipeline(model=...)` loads.
        report_repo, space: Hub ids of the report and of the demo, to which the card links.
        pictures: the pictures of `PICTURES` whose PNG files are in the folder of the card.
    """
    runs = source if isinstance(source, Runs) else None
    report = source.published if isinstance(source, Runs) else source
    model = report.model
    corpus = recipe["corpus"]
    training_data = corpora_of(report, corpus, "train", "validation")
    trained = training_data.facts_of_each()
    architecture, about = _network(report, recipe["model"])
    metadata = _metadata(report, corpus, trained, location, report_repo)
    values = report_values(report) | {
        "over": runs,
        "card_data": metadata.to_yaml(),
        "corpus": training_data.facts(),
        "corpora_facts": trained,
        "parent": model.parent,
        "location": location,
        "architecture": architecture,
        "about": about,
        "sampling_rate": model.sampling_rate or recipe["audio"]["sampling_rate"],
        "recipe": _shown_recipe(recipe),
        "works": [linked(work) for work in works(recipe, model.encoder or model.model_type)],
        "report_repo": report_repo and hub_page(report_repo, "datasets"),
        "space": space and hub_page(space, "spaces"),
        "pictures": pictures,
        "cost": _cost(report, runs),
    }
    return ModelCard(markdown("model_card.md", values))


def _metadata(
    report: Report,
    corpus: Mapping[str, Any],
    trained: Sequence[Mapping[str, Any]],
    location: str,
    report_repo: str | None,
) -> ModelCardData:
    """The metadata at the head of the card, by which the Hub lists the model.

    Args:
        corpus: the section `corpus` of the recipe.
        trained: facts about the corpora of the training data.
    """
    model = report.model
    facts = corpora_of(report, corpus, "train", "validation").facts()
    evaluated = corpora_of(report, corpus, report.evaluated_split).facts_of_each()
    is_hub_id = _HUB_ID.fullmatch(location) and not Path(location).exists()
    licensed = [*trained, OPENSMILE] if "openSMILE" in model.preparation else list(trained)
    if model.parent:
        names = {facts["name"] for facts in trained}
        for parent_corpus in model.parent.corpora:
            if parent_corpus.name not in names:
                licensed.append(parent_corpus.model_dump())
    base = {}
    if model.base_model:
        # The relation is also finetune for adapters, because they are merged into the weights.
        base = {"base_model": model.base_model, "base_model_relation": "finetune"}
    return ModelCardData(
        language=_languages(facts["language"]),
        library_name="transformers",
        pipeline_tag="audio-classification",
        tags=["speech-emotion-recognition", "audio-classification", "ser_hf"],
        datasets=_datasets(corpus) or None,
        metrics=list(dict.fromkeys(kind for kind, _ in report.measured.hub.values())),
        model_name=report.name,
        eval_results=_index(report, evaluated, _datasets(corpus), report_repo),
        **license_metadata(licensed, hub_page(location) if is_hub_id else None),
        **base,
    )


def _languages(languages: str | Sequence[str] | None) -> str | list[str] | None:
    """The languages as the Hub accepts them; None if no language is known."""
    codes = hub_languages(languages)
    return codes[0] if len(codes) == 1 else codes or None


def _network(report: Report, settings: Mapping[str, Any]) -> tuple[str, str]:
    """The first paragraph about the network of a recipe, and the other paragraphs."""
    sentence, about = network_words(report.model.architecture)
    if report.model.origin:
        origin = report.model.origin
        sentence += plain(
            f" Its encoder starts from {origin.file} ({origin.source}, license: {origin.licence})."
        )
    sentence = sentence or _encoder(report, settings)
    if report.model.parent:
        sentence += plain(f" Its training starts from {report.model.parent.name}.")
    return linked(sentence), linked(about)


def _shown_recipe(recipe: Mapping[str, Any]) -> str:
    """The recipe as YAML in a block of code, without provenance and paths of this machine."""
    keys = {key: value for key, value in recipe.items() if key != "provenance"}
    # Three backticks would end the block of code.
    return dump_yaml(public(keys)).replace("```", "...").strip()


def _cost(report: Report, runs: Runs | None) -> dict[str, str]:
    cost = views.cost(report)
    total = runs and views.duration(runs.report.seconds.training)
    if total:
        cost["Training of all runs"] = total
    return cost


@dataclasses.dataclass(frozen=True)
class SplitCorpora:
    """The corpora that the clips of some splits are from.

    Attributes:
        corpus: the name of the recipe's corpus, which may be a mixture.
        options: the options of the recipe's corpus.
        names: the names of the corpora in these splits.
    """

    corpus: str
    options: dict[str, Any]
    names: frozenset[str]

    def facts(self) -> dict[str, Any]:
        """The metadata of these corpora together, as `corpus_facts` returns it."""
        return corpus_facts(self.corpus, self.options, self.names)

    def facts_of_each(self) -> list[dict[str, Any]]:
        """The metadata of each of these corpora, as `corpora_facts` returns it."""
        return corpora_facts(self.corpus, self.options, self.names)


def corpora_of(report: Report, corpus: Mapping[str, Any], *parts: str) -> SplitCorpora:
    """Find the corpora of the clips of some splits; splits that the report lacks are left out.

    Args:
        corpus: the section `corpus` of the recipe.
        parts: names of splits.
    """
    name = corpus["name"]
    keys = settings_class(name).model_fields
    options = {
        key: value
        for key, value in corpus.items()
        if key in keys and key not in CorpusSettings.model_fields
    }
    auxiliary = corpus.get("auxiliary")
    if auxiliary and "train" in parts:
        # The corpora of the training split together are a mixture.
        main_items = options["corpora"] if name == "mixture" else [{"name": name, **options}]
        name = "mixture"
        options = {"corpora": [*main_items, *auxiliary]}
    names = set()
    for part in parts:
        if part in report.protocol.parts:
            speakers = report.protocol.parts[part].speakers
            names |= {speaker.partition(":")[0] for speaker in speakers}
    return SplitCorpora(corpus=name, options=options, names=frozenset(names))


def _datasets(corpus: Mapping[str, Any]) -> list[str]:
    """The Hub ids of the training data."""
    items = list(corpus["corpora"]) if corpus["name"] == "mixture" else [corpus]
    items += corpus.get("auxiliary") or []
    return [item["dataset"] for item in items if item["name"] == "hub" and item.get("dataset")]


def _index(
    report: Report,
    evaluated: Sequence[Mapping[str, Any]],
    datasets: Sequence[str],
    report_repo: str | None,
) -> list[EvalResult]:
    """The entries of `model-index`: the main metrics on the evaluated corpora.

    Their names include the protocol, and whether it is leaky.
    """
    protocol = report.protocol
    under = f"{protocol.name}, leaky" if protocol.leak else protocol.name
    arguments = {"protocol": protocol.name, "fold": protocol.fold, "split_sha256": protocol.sha256}
    source = {}
    if report_repo:
        page = hub_page(report_repo, "datasets")
        source = {"source_name": "Evaluation report", "source_url": page}
    name = "mixture" if len(evaluated) > 1 else evaluated[0]["name"]
    titles = views.listed([corpus["title"] for corpus in evaluated])
    return [
        EvalResult(
            task_type="audio-classification",
            task_name="Speech emotion recognition",
            dataset_type=datasets[0] if name == "hub" and len(datasets) == 1 else name,
            dataset_name=f"{titles}, {under}",
            dataset_split=report.evaluated_split,
            dataset_args={key: value for key, value in arguments.items() if value},
            metric_type=kind,
            metric_name=f"{NAMES[metric]} ({under})",
            metric_value=round(report.metrics[metric], 4),
            metric_args=averaging,
            **source,
        )
        for metric, (kind, averaging) in report.measured.hub.items()
        if report.metrics[metric] is not None
    ]


def _encoder(report: Report, settings: Mapping[str, Any]) -> str:
    """One sentence about a speech encoder of transformers and its head."""
    model = report.model
    encoder = plain(model.encoder or model.model_type)
    name = plain(public_name(str(settings["checkpoint"])))
    if settings["random_init"]:
        start = f"with the architecture of `{name}`, randomly initialized"
    else:
        base = model.base_model
        start = f"from [{base}]({hub_page(base)})" if base else f"from `{name}`"
        if model.revision:
            start += f" ({plain(model.revision)[:19]})"
    return f"Its encoder is {encoder} {start}."


def public(values: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the values of a recipe or report without paths of this machine."""
    shown = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            shown[key] = public(value)
        elif isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
            shown[key] = [public(item) for item in value]  # the corpora of a mixture
        elif key in ("output_dir", "cache_dir"):
            continue
        elif isinstance(value, str) and _outside(value):
            shown[key] = Path(value).name.strip("~.")
        else:
            shown[key] = value
    return shown


def _outside(path: str) -> bool:
    """Whether a path leads out of the working folder."""
    return Path(path).is_absolute() or ".." in Path(path).parts or path.startswith("~")


def public_name(checkpoint: str) -> str:
    """The name of a checkpoint to publish: its Hub id, or the name of a local folder or file."""
    return Path(checkpoint).name if Path(checkpoint).exists() else checkpoint
