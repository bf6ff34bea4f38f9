"""ser-hf publish and verify: publish a finished run, and check a model without ser_hf."""

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option

from ..utils.errors import UserError
from .options import Clips, Json, Model, Private, Revision, TrustRemoteCode

if TYPE_CHECKING:
    from ..experiment.settings import HubSettings


def publish(
    run: Annotated[str, Argument(metavar="RUN", help="The folder of a finished run (output_dir).")],
    repo: Annotated[
        str | None, Option(metavar="USER/NAME", help="[default: the recipe's hub section]")
    ] = None,
    private: Private = False,
    report_repo: Annotated[
        str | None, Option(metavar="USER/NAME", help="A dataset with the report.")
    ] = None,
    space: Annotated[bool, Option("--space", help="A Gradio page to try the model on.")] = False,
    benchmark: Annotated[
        str | None,
        Option(metavar="USER/NAME[:TASK]", help="A dataset whose leaderboard shows the result."),
    ] = None,
) -> None:
    """Publish a finished run to the Hub.

    Uploads model, card, report and Space, and verifies the model before and after.

    Example: ser-hf publish runs/ravdess_crnn --repo USER/ravdess-crnn --report-repo
    USER/ravdess-crnn-report --space
    """
    from ..hub.publish import publish

    hub = _hub_section(run)
    if repo is not None:
        published = publish(
            run,
            repo,
            private=private,
            report_repo=report_repo,
            space=space,
            benchmark=benchmark,
        )
        print(published)
        return
    if hub is None or hub.repo is None:
        raise UserError("--repo: missing, and the run's recipe names no repository (hub.repo)")
    if private or report_repo or space or benchmark:
        raise UserError(
            "--repo: missing; other options need it (without any, the recipe's hub section is used)"
        )
    print(publish(run, **hub.publication))


def _hub_section(run: str) -> "HubSettings | None":
    """Return the section `hub` of a run's recipe; None if the folder has no recipe."""
    from ..experiment.reading import read_recipe
    from ..utils.run_folder import RunFolder

    recipe = RunFolder(run).recipe
    if not recipe.is_file():
        return None
    return read_recipe(recipe).hub


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
    from ..hub.verify import verify

    verdict = verify(
        model, revision=revision, clips=clips, trust_remote_code=trust_remote_code or None
    )
    print(verdict.to_json() if json else verdict)
    if not verdict.good:
        raise Exit(1)
