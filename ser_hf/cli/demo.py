"""ser-hf demo: a local page to try a model on."""

import importlib.util
import os
import runpy
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from ..utils.errors import UserError
from .first_checks import announce, require_model
from .options import (
    LabelNames,
    Model,
    Revision,
    TrustRemoteCode,
    exit_on_termination,
    names_of_labels,
)

if TYPE_CHECKING:
    from ..hub.space import Demo

HOST = "127.0.0.1"


def demo(
    model: Model,
    port: Annotated[
        int | None, Option(metavar="N", help="Of this machine.  [default: a free port]")
    ] = None,
    host: Annotated[
        str,
        Option(
            metavar="ADDRESS", help="0.0.0.0 opens the page to the network, without a password."
        ),
    ] = HOST,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    label_names: LabelNames = None,
) -> None:
    """Open a page in your browser to try a model on.

    Record, upload, or see predictions while you speak. It takes every model that `ser-hf predict`
    takes.

    Example: ser-hf demo runs/ravdess_crnn --port 7860
    """
    if importlib.util.find_spec("gradio") is None:
        raise UserError("the page needs gradio: pip install 'ser_hf[demo]'")
    require_model(model)
    port = _free_port(port, host)
    announce(model)
    page = _demo_of(model, revision, trust_remote_code, names_of_labels(label_names))
    exit_on_termination()  # so that the recordings are deleted
    with tempfile.TemporaryDirectory(prefix="ser-hf-demo-") as folder:
        _serve(page, Path(folder), host, port)


def _demo_of(
    model: str,
    revision: str | None,
    trust_remote_code: bool,
    label_names: Sequence[str] | None,
) -> "Demo":
    """Return the content of the page.

    The page loads the model itself. It is also loaded here, to report mistakes early.
    """
    from ..hub.space import Demo
    from ..inference.load import load_classifier
    from ..loading.files import find_file
    from ..report.report import read_report

    classifier = load_classifier(
        model,
        revision=revision,
        device="cpu",
        trust_remote_code=trust_remote_code,
        label_names=label_names,
    )
    source = model if os.path.isfile(model) else classifier.location
    commit = classifier.commit
    report = None
    if not os.path.isfile(source):
        report = find_file(source, "report.json", commit, required=False)
    report_page = Path(source).parent / "report" / "index.html"
    return Demo(
        os.path.abspath(source) if os.path.exists(source) else source,
        report=read_report(Path(report)) if report else None,
        report_page=str(report_page) if report_page.is_file() else None,
        revision=commit,
        trust_remote_code=trust_remote_code,
        window=classifier.evaluation_window,
        label_names=label_names,
        local=True,
    )


def _serve(page: "Demo", folder: Path, host: str, port: int) -> None:
    """Write the page's program to a folder and run it, until it is interrupted."""
    from ..hub.space import write_space

    space = write_space(folder / "space", page)
    os.environ["GRADIO_SERVER_NAME"] = host
    os.environ["GRADIO_SERVER_PORT"] = str(port)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "recordings")
    sys.path.insert(0, str(space))  # app.py imports the files beside it
    runpy.run_path(str(space / "app.py"), run_name="__main__")


def _free_port(requested: int | None, host: str = HOST) -> int:
    """Return the requested port if it is free, or any free port."""
    with socket.socket() as probe:
        # a page that was just closed does not block the port
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, 0))
        except OSError as error:
            raise UserError(
                f"--host: {host} is no IPv4 address of this machine ({error}); 0.0.0.0 is all of "
                "them"
            ) from None
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, requested or 0))
        except (OSError, OverflowError) as error:
            raise UserError(
                f"--port: {requested} cannot be used ({error}); choose another, or leave it out"
            ) from None
        return probe.getsockname()[1]
