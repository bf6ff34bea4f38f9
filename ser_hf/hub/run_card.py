"""The card of a run, made of its recipe and its report alone: nothing is loaded, trained or looked up."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from ..corpora import corpora_facts, corpus_facts, corpus_options
from ..errors import UserError
from ..public import public, public_name
from ..run_folder import RunFolder
from ..strict import dump_yaml, read_yaml
from .card import model_card
from .card_metadata import hub_page, is_hub_id
from .works import network_words, works

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
        published: `hub_id`, `report_repo`, `space` and `pictures` of `ser_hf.hub.card.model_card`.
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
