"""ser-hf demo: a local page to try a model on."""

import contextlib
import importlib.util
import json
import os
import runpy
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from ..utils.errors import UserError
from .options import Model, Revision, TrustRemoteCode

if TYPE_CHECKING:
    from ..inference.classifier import Classifier

HOST = "127.0.0.1"


def demo(
    model: Model,
    port: Annotated[
        int | None, Option(metavar="N", help="Only this machine can open it.  [default: a free port]")
    ] = None,
    examples: Annotated[list[str] | None, Option(metavar="FILE...", help="Recordings to offer on the page.")] = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Open a page in your browser to try a model on.

    Record, upload, or see predictions while you speak.

    Example: ser-hf demo runs/ravdess_crnn --port 7860
    """
    if importlib.util.find_spec("gradio") is None:
        raise UserError("the page needs gradio: pip install 'ser_hf[demo]'")
    port = _free_port(port)
    from ..hub.space import write_space
    from ..inference.classifier import load_classifier

    # The page loads the model itself; this reports mistakes first.
    expert = load_classifier(model, revision=revision, device="cpu", trust_remote_code=trust_remote_code)
    # SIGTERM ends it like Ctrl-C, so that recordings are deleted.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="ser-hf-demo-") as folder:
        space = write_space(
            Path(folder, "space"),
            os.path.abspath(expert.place) if os.path.isdir(expert.place) else expert.place,
            **_facts(expert),
            revision=expert.commit,
            trust_remote_code=trust_remote_code,
            window=expert.evaluation_window,
            examples=examples or [],
        )
        del expert
        os.environ |= {"GRADIO_SERVER_NAME": HOST, "GRADIO_SERVER_PORT": str(port)}
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(Path(folder, "recordings"))}
        runpy.run_path(str(space / "app.py"), run_name="__main__")


def _facts(expert: "Classifier") -> dict[str, Any]:
    """Report and corpus of a model of ser_hf, from the files beside its weights."""
    from ..corpora import corpus_facts
    from ..experiment.recipe_checks import read_recipe
    from ..inference.classifier import published_file

    report = corpus = None
    if path := published_file(expert.place, "report.json", expert.commit):
        with contextlib.suppress(ValueError):
            report = json.loads(Path(path).read_text(encoding="utf-8"))
    if report is not None and (path := published_file(expert.place, "recipe.yaml", expert.commit)):
        with contextlib.suppress(UserError):  # of another version of ser_hf
            recipe = read_recipe(path)
            corpus = corpus_facts(recipe.corpus.name, recipe.corpus.options)
    page = Path(expert.place).parent / "report" / "index.html"
    return {"report": report, "corpus": corpus, "report_page": str(page) if page.is_file() else None}


def _free_port(requested: int | None) -> int:
    """The requested port if it is free, or any free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a page closed just now does not block the port
        try:
            probe.bind((HOST, requested or 0))
        except (OSError, OverflowError) as error:
            raise UserError(f"--port: {requested} cannot be used ({error}); choose another, or leave it out") from None
        return probe.getsockname()[1]
