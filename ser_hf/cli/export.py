"""ser-hf export: a trained model as an ONNX file that runs without ser_hf."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

from typer import Option

from .options import Clips, Json, Model, Revision, TrustRemoteCode, as_json

if TYPE_CHECKING:
    from ..export.onnx import Export


def export(
    model: Model,
    int8: Annotated[
        bool,
        Option(
            "--int8",
            help="Also write a file with int8 weights, and measure size, speed and difference.",
        ),
    ] = False,
    output: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="With a script that runs it beside it.  [default: exports/MODEL/model.onnx]",
        ),
    ] = None,
    clips: Clips = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    json: Json = False,
) -> None:
    """Export a model to ONNX and compare the file with the model.

    One file computes everything, from the waveform to probabilities, without ser_hf. `ser-hf
    evaluate FILE` measures its accuracy on a corpus.

    Example: ser-hf export runs/ravdess_crnn --int8 --output crnn.onnx
    """
    from ..export import export_model

    export = export_model(
        model,
        output,
        int8=int8,
        clips=clips,
        revision=revision,
        trust_remote_code=trust_remote_code,
    )
    print(as_json(dataclasses.asdict(export)) if json else summary(export))


def summary(export: "Export") -> str:
    """Size, speed and difference of each file, for the terminal."""
    files = export.files
    lines = [f"compared on {files['onnx'].difference.clips} {export.compared_on}:"]
    for name, file in files.items():
        difference = file.difference
        batch = "alone and padded" if file.padded else "one at a time"
        changed = f", another label for {difference.changed}" if name == "int8" else ""
        lines.append(
            f"{file.path}: {file.bytes / 1e6:.2f} MB, {file.milliseconds:.1f} ms a clip; {batch}: "
            f"logits up to {difference.logits:.2g} from the model's, probabilities "
            f"{difference.probabilities:.2g}{changed}"
        )
    lines.append(f"  the model in torch: {export.milliseconds:.1f} ms a clip")
    smallest = list(files.values())[-1].path
    lines.append(f"  run it: python {export.script} {smallest} recording.wav")
    return "\n".join(lines)
