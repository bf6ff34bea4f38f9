"""ser-hf export: a trained model as a file of ONNX or torch that runs without ser_hf."""

import dataclasses
from typing import Annotated

from typer import Argument, Option

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


def export(
    model: Annotated[
        str,
        Argument(metavar="MODEL", help="A run folder, a model folder or a Hub id."),
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
    clips: Clips = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    label_names: LabelNames = None,
    json: Json = False,
) -> None:
    """Export a model to ONNX or torch.export, and compare the file with the model.

    One file computes everything, from the waveform to probabilities, without ser_hf. `ser-hf
    evaluate FILE` measures its accuracy on a corpus.

    Example: ser-hf export runs/ravdess_crnn --int8 --output crnn.onnx

    Example: ser-hf export runs/ravdess_se_resnet --output se_resnet.pt2
    """
    require_model(model)
    announce(model)
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
