"""ser-hf verify: whether a model works for users who have no ser_hf."""

from typing import Annotated

from typer import Exit, Option

from .options import Model, Revision, TrustRemoteCode


def verify(
    model: Model,
    revision: Revision = None,
    clips: Annotated[
        list[str] | None,
        Option(
            metavar="FILE...",
            help="Recordings to classify.  [default: a synthetic voice; for a run, clips that it was evaluated on]",
        ),
    ] = None,
    json: Annotated[bool, Option("--json", help="Print everything as one JSON object.")] = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Check that a model works where ser_hf is not installed.

    The exit code is 1 if there are problems.

    Example: ser-hf verify USER/MODEL --clips recording.wav
    """
    from ..hub.verify import verify

    verdict = verify(model, revision=revision, clips=clips, trust_remote_code=trust_remote_code or None)
    print(verdict.to_json() if json else verdict)
    if not verdict.good:
        raise Exit(1)
