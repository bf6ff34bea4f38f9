"""ser-hf publish and verify: publish a finished run, and check a model without ser_hf."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Context, Exit, Option
from typer.core import TyperCommand

from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from ..utils.yaml import read_yaml
from .first_checks import announce, require_model
from .options import Clips, Json, Model, Private, Revision, TrustRemoteCode
from .shell_completion import complete_run

# What may follow --space.
_SPACE_WORDS = (["gradio"], ["static"])


class PublishCommand(TyperCommand):
    """The verb `publish`, whose option --space may stand without a word."""

    def parse_args(self, context: Context, words: list[str]) -> list[str]:
        completed = []
        for position, word in enumerate(words):
            completed.append(word)
            if word == "--space" and words[position + 1 : position + 2] not in _SPACE_WORDS:
                completed.append("gradio")
        return super().parse_args(context, completed)


def publish(
    run: Annotated[
        str,
        Argument(
            metavar="RUN",
            help="The folder of a finished run (output_dir).",
            autocompletion=complete_run,
        ),
    ],
    repo: Annotated[
        str | None, Option(metavar="USER/NAME", help="[default: the recipe's hub section]")
    ] = None,
    private: Private = False,
    report_repo: Annotated[
        str | None, Option(metavar="USER/NAME", help="A dataset with the report.")
    ] = None,
    space: Annotated[
        Literal["gradio", "static"] | None,
        Option(
            "--space",
            metavar="[gradio|static]",
            help="A page to try the model on: an app of Gradio, or a page that runs in the browser."
            "  [without a word: gradio]",
        ),
    ] = None,
    benchmark: Annotated[
        str | None,
        Option(metavar="USER/NAME[:TASK]", help="A dataset whose leaderboard shows the result."),
    ] = None,
) -> None:
    """Publish a finished run to the Hub.

    Uploads model, card, report and Space, and verifies the model before and after.

    Example: ser-hf publish runs/ravdess_crnn --repo USER/ravdess-crnn --report-repo
    USER/ravdess-crnn-report --space

    Example: ser-hf publish runs/ravdess_crnn --repo USER/ravdess-crnn --space static
    """
    _check_repository(run, repo, bool(private or report_repo or space or benchmark))
    announce(run)
    from ..hub.publish import publish

    if repo is not None:
        with _space_page(run, repo, space) as space_page:
            published = publish(
                run,
                repo,
                private=private,
                report_repo=report_repo,
                space=space is not None,
                space_page=space_page,
                benchmark=benchmark,
            )
        print(published)
        return
    from ..experiment.reading import read_recipe

    print(publish(run, **read_recipe(RunFolder(run).recipe).hub.publication))


@contextlib.contextmanager
def _space_page(run: str, repo: str, space: str | None) -> Iterator[Path | None]:
    """Yield the folder of a page that runs the model in the browser, for a static Space."""
    if space != "static":
        yield None
        return
    from ..export import export_web
    from ..hub.push import resolve_repo_id

    hub_model = resolve_repo_id(repo)  # a missing token is reported before the export
    with tempfile.TemporaryDirectory(prefix="ser_hf-page-") as folder:
        yield export_web(run, Path(folder, "page"), hub_model=hub_model).folder


def _check_repository(run: str, repo: str | None, has_options: bool) -> None:
    """Refuse a missing folder, and a run without a repository on the command line or in it."""
    if not os.path.isdir(run):
        missing_repo = "" if repo else ", and --repo is missing"
        raise UserError(f"RUN: {run}: no such folder{missing_repo}")
    if repo is not None:
        return
    recipe = RunFolder(run).recipe
    hub = read_yaml(recipe).get("hub") if recipe.is_file() else None
    recipe_repo = hub.get("repo") if isinstance(hub, dict) else None
    if not recipe_repo:
        raise UserError("--repo: missing, and the run's recipe names no repository (hub.repo)")
    if has_options:
        raise UserError(
            "--repo: missing; other options need it (without any, the recipe's hub section is used)"
        )


def verify(
    model: Model,
    revision: Revision = None,
    clips: Clips = None,
    json: Json = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Check that a model works where ser_hf is not installed.

    Without --clips it classifies a synthetic voice, or for a run clips of its evaluation. The exit
    code is 1 if there are problems.

    Example: ser-hf verify USER/MODEL --clips recording.wav
    """
    require_model(model)
    announce(model)
    from ..hub.verify import verify

    verdict = verify(
        model, revision=revision, clips=clips, trust_remote_code=trust_remote_code or None
    )
    print(verdict.to_json() if json else verdict)
    if not verdict.good:
        raise Exit(1)
