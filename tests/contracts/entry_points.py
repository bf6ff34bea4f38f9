"""The entry points that the contract tests use. When a module of ser_hf moves, only this file
changes.

Everything else in this folder uses what `ser_hf` exports, transformers, recipes and files.
"""

import shutil
import sys
from pathlib import Path

import ser_hf
import ser_hf.models  # registers the networks with transformers' Auto classes

TRAIN = [sys.executable, "-m", "ser_hf.train"]
SER_HF = [sys.executable, "-c", "import sys; from ser_hf.cli import main; sys.exit(main())"]


def command(*arguments: object) -> int:
    """Runs `ser-hf ARGUMENTS` in this process and returns its exit code."""
    from ser_hf.cli import main

    try:
        return main([str(argument) for argument in arguments]) or 0
    except SystemExit as stopped:
        return stopped.code or 0


def architectures() -> list[str]:
    """The networks that a recipe can name, without `encoder`."""
    from ser_hf.models import ARCHITECTURES

    return list(ARCHITECTURES)


def from_published_weights() -> list[str]:
    """The networks that a recipe starts from published weights or, with `random_init`, from random
    numbers.
    """
    from ser_hf.models import TRANSFERRED

    return list(TRANSFERRED)


def tiny_options(architecture: str) -> dict:
    """Options of a recipe's model section that make the network tiny."""
    from support.testing.models import TINY

    return dict(TINY[architecture])


def resolved(recipe: dict) -> dict:
    """The recipe with every default written out, as recipe.yaml holds it."""
    return ser_hf.read_recipe(recipe).to_dict()


def model_card(run: Path, location: str, **published: str) -> str:
    """The model card of a finished run, made of its recipe and its report."""
    from ser_hf.report.card import card_of_run

    return str(card_of_run(run, location, pictures=False, **published))


def report_page(run: Path, scratch: Path) -> str:
    """The page of a finished run's report, made of its report.json; `scratch` receives a copy of
    the run.
    """
    from ser_hf.corpora import corpus_facts
    from ser_hf.experiment.outputs import report_links
    from ser_hf.report.report import read_report
    from ser_hf.report.write import write_report
    from ser_hf.utils.run_folder import RunFolder

    copy = RunFolder(shutil.copytree(run, scratch / run.name))
    report = read_report(copy.report / "report.json")
    corpus = corpus_facts("synthetic", {})
    write_report(
        copy.report,
        report,
        recipe=copy.recipe.read_text(),
        corpus=corpus,
        links=report_links(report, copy),
    )
    return (copy.report / "index.html").read_text(encoding="utf-8")
