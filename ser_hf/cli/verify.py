"""ser-hf verify: checks that a model works where ser_hf is not installed."""

from typing import Annotated

from typer import Exit, Option

from .options import Clips, Model, Revision, TrustRemoteCode


def verify(
    model: Model,
    revision: Revision = None,
    clips: Clips = None,
    json: Annotated[bool, Option("--json", help="Print everything as one JSON object.")] = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Check that a model works where ser_hf is not installed.

    Without --clips it classifies a synthetic voice, or for a run clips of its evaluation. The exit code is 1 if there
    are problems.

    Example: ser-hf verify USER/MODEL --clips recording.wav
    """
    from ..hub.verify import verify

    verdict = verify(model, revision=revision, clips=clips, trust_remote_code=trust_remote_code or None)
    print(verdict.to_json() if json else verdict)
    if not verdict.good:
        raise Exit(1)
