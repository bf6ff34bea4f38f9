"""ser-hf demo: a local page to try a model on: record, upload, or see predictions while you speak."""

import argparse
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
from typing import TYPE_CHECKING, Any

from ..utils.errors import UserError

if TYPE_CHECKING:
    from ..inference.classifier import Classifier

EXAMPLE = "ser-hf demo runs/ravdess_crnn --port 7860"
HOST = "127.0.0.1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a run folder, a model folder or a Hub id, of any audio classifier")
    parser.add_argument(
        "--port", type=int, metavar="N", help="of the page, which only this machine can open (default: a free port)"
    )
    parser.add_argument("--examples", nargs="+", default=[], metavar="FILE", help="recordings to offer on the page")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of a model on the Hub")
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="run code from the model's repository; ours need none"
    )


def run(options: argparse.Namespace) -> None:
    """Writes the Space of the model into a temporary folder, and runs it there until it is interrupted."""
    if importlib.util.find_spec("gradio") is None:
        raise UserError("the page needs gradio: pip install 'ser_hf[demo]'")
    port = _port(options.port)
    # Imported late: `--help` must not wait for these.
    from ..hub.space import write_space
    from ..inference.classifier import load_classifier

    # The page loads the model itself; this reports mistakes first.
    classifier = load_classifier(
        options.model,
        revision=options.revision,
        device="cpu",
        trust_remote_code=options.trust_remote_code,
    )
    # SIGTERM ends it like Ctrl-C, so that recordings are deleted.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="ser-hf-demo-") as folder:
        space = write_space(
            Path(folder, "space"),
            os.path.abspath(classifier.place) if os.path.isdir(classifier.place) else classifier.place,
            **_facts(classifier),
            revision=classifier.commit,
            trust_remote_code=options.trust_remote_code,
            window=classifier.judged_window,
            examples=options.examples,
        )
        del classifier
        os.environ |= {"GRADIO_SERVER_NAME": HOST, "GRADIO_SERVER_PORT": str(port)}
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(Path(folder, "recordings"))}
        runpy.run_path(str(space / "app.py"), run_name="__main__")


def _facts(classifier: "Classifier") -> dict[str, Any]:
    """Report and corpus of a model that was trained here, from the files beside its weights."""
    from ..corpora import corpus_facts
    from ..experiment.recipe_checks import read_recipe
    from ..inference.classifier import published_file

    report = recipe = corpus = None
    if path := published_file(classifier.place, "report.json", classifier.commit):
        with contextlib.suppress(ValueError):
            report = json.loads(Path(path).read_text(encoding="utf-8"))
    if report is not None and (path := published_file(classifier.place, "recipe.yaml", classifier.commit)):
        with contextlib.suppress(UserError):  # of another version of ser_hf
            recipe = read_recipe(path)
            corpus = corpus_facts(recipe.corpus.name, recipe.corpus.options)
    page = Path(classifier.place).parent / "report" / "index.html"
    return {"report": report, "corpus": corpus, "report_page": str(page) if page.is_file() else None}


def _port(requested: int | None) -> int:
    """The requested port, or any free one."""
    with socket.socket() as one:
        one.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # a page that was closed just now does not block the port
        try:
            one.bind((HOST, requested or 0))
        except (OSError, OverflowError) as error:
            raise UserError(f"--port: {requested} cannot be used ({error}); choose another, or leave it out") from None
        return one.getsockname()[1]
