"""ser-hf export: a trained model as a file of ONNX or torch that runs without ser_hf."""

import dataclasses
from typing import Annotated, Any

from typer import Argument, Option

from ..utils.errors import UserError
from .first_checks import announce, require_model
from .options import (
    Clips,
    Json,
    LabelNames,
    Revision,
    TrustRemoteCode,
    as_json,
    names_of_labels,
)
from .shell_completion import complete_model


def export(
    model: Annotated[
        str,
        Argument(
            metavar="MODEL",
            help="A run folder, a model folder or a Hub id.",
            autocompletion=complete_model,
        ),
    ],
    int8: Annotated[
        bool,
        Option(
            "--int8",
            help="Also write a file with int8 weights, and measure size, speed and difference.",
        ),
    ] = False,
    fp16: Annotated[
        bool,
        Option(
            "--fp16",
            help="Also write a file whose network computes in float16, for GPUs.",
        ),
    ] = False,
    output: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="*.onnx, with a script that runs it beside it; or *.pt2, a program of torch.  "
            "[default: exports/MODEL/model.onnx]",
        ),
    ] = None,
    web: Annotated[
        str | None,
        Option(
            metavar="FOLDER",
            help="Instead, a static page that runs the model in the browser, on the user's device.",
        ),
    ] = None,
    runtime: Annotated[
        str | None,
        Option(
            metavar="FOLDER",
            help="With --web: a copy of onnxruntime-web (npm), to copy beside the page.  [default: "
            "the page loads it from a CDN]",
        ),
    ] = None,
    clips: Clips = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    label_names: LabelNames = None,
    json: Json = False,
) -> None:
    """Export a model to ONNX or torch.export, and compare the file with the model.

    One file computes everything, from the waveform to probabilities, without ser_hf. `ser-hf
    evaluate FILE` measures its accuracy on a corpus. With --web a page runs it, and --int8 makes
    the page's file smaller.

    Example: ser-hf export runs/ravdess_crnn --int8 --output crnn.onnx

    Example: ser-hf export runs/ravdess_se_resnet --output se_resnet.pt2

    Example: ser-hf export runs/ravdess_crnn --web site
    """
    require_model(model)
    _check_options(web, runtime=runtime, output=output, fp16=fp16)
    announce(model)
    if web is not None:
        _export_page(
            model,
            web,
            runtime=runtime,
            int8=int8,
            clips=clips,
            revision=revision,
            trust_remote_code=trust_remote_code,
            label_names=names_of_labels(label_names),
            json=json,
        )
        return
    from ..export import export_model
    from ..report.terminal import export_summary

    export = export_model(
        model,
        output,
        int8=int8,
        fp16=fp16,
        clips=clips,
        revision=revision,
        trust_remote_code=trust_remote_code,
        label_names=names_of_labels(label_names),
    )
    exported = dataclasses.asdict(export)
    print(as_json(exported) if json else export_summary(exported))


def _check_options(web: str | None, *, runtime: str | None, output: str | None, fp16: bool) -> None:
    """Refuse options that contradict --web, and --runtime without it."""
    if web is None:
        if runtime is not None:
            raise UserError("--runtime: only a page needs it; give --web FOLDER too")
        return
    if output is not None:
        raise UserError(
            "--output: contradicts --web, whose folder has the file; give one of the two"
        )
    if fp16:
        raise UserError(
            "--fp16: contradicts --web, whose page computes on the processor; use --int8 for a "
            "smaller file"
        )


def _export_page(model: str, folder: str, *, json: bool, **options: Any) -> None:
    from ..export import export_web
    from ..report.terminal import web_summary

    page = dataclasses.asdict(export_web(model, folder, **options))
    print(as_json(page) if json else web_summary(page))
