"""ser-hf predict: labels, probabilities and embeddings of recordings, clip by clip or over time."""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

from typer import Argument, Exit, Option

from ..utils.errors import UserError
from .first_checks import announce, require_model
from .options import (
    Adapt,
    AdaptFrom,
    BatchSize,
    Device,
    LabelNames,
    Model,
    Revision,
    TrustRemoteCode,
    Window,
    exit_on_termination,
    names_of_labels,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from ..inference.outputs import TableMetadata


def predict(
    model: Model,
    inputs: Annotated[
        list[str],
        Argument(
            metavar="INPUT",
            help="Audio files (as libsndfile reads), folders, CSV or TSV with a column path.",
        ),
    ],
    output: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="Labels, probabilities and logits: .csv or .jsonl; labels and times: .TextGrid, "
            ".txt (Audacity) or .rttm.  [default: standard output]",
        ),
    ] = None,
    format: Annotated[
        Literal["table", "jsonl", "csv"] | None,
        Option(help="Of standard output.  [default: table]"),
    ] = None,
    embeddings: Annotated[
        str | None, Option(metavar="FILE", help="The same with embeddings; ends with .parquet.")
    ] = None,
    window: Window = None,
    segments: Annotated[
        str | None,
        Option(
            metavar="speech|windows|FILE",
            help="A row for each segment: speech that is found, overlapping windows, or the turns "
            "of an RTTM, TextGrid, Audacity, ELAN or CSV file.",
        ),
    ] = None,
    hop: Annotated[
        float | None, Option(metavar="S", help="Step of the windows.  [default: half a window]")
    ] = None,
    smooth: Annotated[
        int | None, Option(metavar="N", help="Median of N segments around each one; odd.")
    ] = None,
    join: Annotated[
        bool, Option("--join", help="Join neighbors of one speaker with the same label.")
    ] = False,
    picture: Annotated[
        str | None,
        Option(metavar="FILE", help="Draw the segments of a recording: ends with .png or .svg."),
    ] = None,
    labels: Annotated[
        str | None,
        Option(metavar="LABEL,...", help="Decide between these labels only."),
    ] = None,
    unknown: Annotated[
        str | None,
        Option(
            metavar="P",
            help="Predict unknown below this probability; auto: below the model's threshold.",
        ),
    ] = None,
    adapt: Adapt = None,
    adapt_from: AdaptFrom = None,
    batch_size: BatchSize = 16,
    on_error: Annotated[
        Literal["error", "skip"],
        Option(help="End at a file that cannot be read, or leave it out and return 1."),
    ] = "skip",
    device: Device = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    label_names: LabelNames = None,
) -> None:
    """Predict the emotions of recordings.

    Writes labels, probabilities, logits and embeddings, clip by clip or over time.

    Example: ser-hf predict runs/ravdess_crnn calls/ --output calls.csv
    """
    require_model(model)
    if not any(os.path.exists(path) for path in inputs):
        _refuse_missing(inputs, skip=on_error == "skip")
    announce(model)
    from ..inference.chunks import NoneReadable
    from ..inference.load import load_classifier
    from ..inference.predict import (
        PredictionSettings,
        predict_in_processes,
        predict_tables,
        table_metadata,
    )
    from ..inference.recordings import from_paths

    settings = PredictionSettings(
        embeddings=embeddings is not None,
        window=window,
        batch_size=batch_size,
        on_error=on_error,
        segments=segments,
        hop=hop,
        smooth=smooth,
        join=join,
        labels=None if labels is None else [label.strip() for label in labels.split(",")],
        unknown=_threshold(unknown),
        adapt=adapt,
        adapt_from=adapt_from,
    )
    destination = _Destination(
        paths=_output_paths(output, embeddings, inputs=[model, *inputs]),
        format=format,
        segments=segments,
        picture=picture,
    )
    if picture is not None:
        _check_picture(picture, segments, inputs=[model, *inputs])
    distributed = os.environ.get("WORLD_SIZE", "1") != "1"
    is_main = not distributed or _is_main_process(device)

    exit_on_termination()
    skipped: list[tuple[str, str]] = []
    try:
        recordings = from_paths(inputs, skip=on_error == "skip")
        _require_one_recording({recording.path for recording in recordings}, destination)
        classifier = load_classifier(
            model,
            revision=revision,
            device=device,
            trust_remote_code=trust_remote_code,
            label_names=names_of_labels(label_names),
        )
        metadata = table_metadata(classifier, settings)
        tables_of = predict_in_processes if distributed else predict_tables
        tables = tables_of(classifier, recordings, settings, metadata, skipped)
        written = _write(tables, metadata, destination if is_main else None)
    except NoneReadable as error:
        if on_error == "error":
            raise
        sys.stderr.write(f"error: {error}\n")
        raise Exit(1) from None

    if is_main:
        _describe(written, metadata, destination, skipped=len(skipped))
        if skipped:
            sys.stdout.flush()
            raise Exit(1)


def _refuse_missing(inputs: Sequence[str], skip: bool) -> None:
    """End the command if no input exists; audio files that are skipped are a negative result."""
    is_audio = [Path(path).suffix.lower() not in ("", ".csv", ".tsv") for path in inputs]
    message = f"{inputs[0]}: no such file or folder"
    if not skip or not all(is_audio):
        raise UserError(message)
    sys.stderr.write(f"error: {message}; none of {len(inputs)} inputs exists\n")
    raise Exit(1)


@dataclasses.dataclass(frozen=True)
class _Destination:
    """Where the predictions go.

    Attributes:
        paths: the file of each option.
        format: of standard output, if it was requested.
        segments: the option ``--segments``.
        picture: the file of the picture.
    """

    paths: Mapping[str, Path]
    format: str | None
    segments: str | None
    picture: str | None

    @property
    def printed(self) -> bool:
        """Whether predictions go to standard output."""
        return not self.paths or self.format is not None


@dataclasses.dataclass
class _Written:
    """What was written.

    Attributes:
        rows: the number of rows.
        clamped: the rows with a value that was outside of the scale of the ratings.
        segments: the rows without embeddings, if recordings were divided into segments.
    """

    rows: int = 0
    clamped: int = 0
    segments: "list[pa.Table]" = dataclasses.field(default_factory=list)


def _write(
    tables: "Iterable[pa.Table]", metadata: "TableMetadata", destination: _Destination | None
) -> _Written:
    """Write tables as they come; with None for the destination they are only computed."""
    from ..inference.outputs import clamped_rows
    from ..inference.writers import to_terminal, writing

    written = _Written()
    with contextlib.ExitStack() as stack:
        writers = []
        if destination is not None:
            for key, path in destination.paths.items():
                writers.append(stack.enter_context(writing(path, key, metadata)))
            if destination.printed:
                writers.append(to_terminal(destination.format or "table", metadata))
        for table in tables:
            written.rows += len(table)
            written.clamped += clamped_rows(table, metadata)
            if metadata.segments is not None:
                names = [name for name in table.column_names if name != "embedding"]
                written.segments.append(table.select(names))
            for write in writers:
                write(table)
    return written


def _describe(
    written: _Written, metadata: "TableMetadata", destination: _Destination, skipped: int
) -> None:
    """Print what was written; for segments also the seconds of each emotion, and the picture."""
    _print_counts(
        destination.paths,
        rows=written.rows,
        unit={None: "clip", "windows": "window"}.get(destination.segments, "segment"),
        skipped=skipped,
        embedding=metadata.embedding,
        # Standard output receives nothing but predictions.
        file=sys.stderr if destination.printed else sys.stdout,
    )
    if metadata.ranges:
        print(_scale(metadata, written), file=sys.stderr)
    if written.segments:
        _describe_segments(
            written.segments,
            metadata,
            destination.picture,
            skip_windows=destination.segments == "windows",
        )


def _scale(metadata: "TableMetadata", written: _Written) -> str:
    """The scales of the dimensions, and how many rows had a value outside."""
    scales = [f"{name} {low:g} to {high:g}" for name, (low, high) in metadata.ranges.items()]
    line = f"scale of the ratings: {', '.join(scales)}"
    if written.clamped:
        line += f"; {written.clamped} of {written.rows} had a value outside, which was clamped"
    return line


def _describe_segments(
    tables: "Sequence[pa.Table]",
    metadata: "TableMetadata",
    picture: str | None,
    skip_windows: bool,
) -> None:
    """Print the seconds of each emotion by speaker, and draw the segments if a picture is wanted.

    Args:
        skip_windows: whether the rows are overlapping windows, whose seconds do not add up.
    """
    import pyarrow as pa

    from ..inference.joining import seconds_by_speaker

    table = pa.concat_tables(tables)
    if not metadata.ranges and not skip_windows:
        print(seconds_table(seconds_by_speaker(table), metadata.labels), file=sys.stderr)
    if picture is not None:
        from ..inference.timeline_data import timeline_of
        from ..report.timeline_plot import save_timeline

        save_timeline(timeline_of(table, metadata), Path(picture))
        print(f"  picture: {picture}", file=sys.stderr)


def _threshold(text: str | None) -> float | str | None:
    """Read ``--unknown``: a probability, or auto."""
    if text is None or text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise UserError(
            f"--unknown: expected a probability such as 0.6, or auto, got {text!r}"
        ) from None


def _output_paths(
    output: str | None, embeddings: str | None, inputs: Sequence[str]
) -> dict[str, Path]:
    """Return the output file of each option; a file that is also an input is refused."""
    from ..inference.writers import OUTPUT_SUFFIXES, check_output

    paths = {}
    if output is not None:
        paths["--output"] = check_output(output, OUTPUT_SUFFIXES, "--output", inputs)
    if embeddings is not None:
        paths["--embeddings"] = check_output(embeddings, (".parquet",), "--embeddings", inputs)
    return paths


def _check_picture(picture: str, segments: str | None, inputs: Sequence[str]) -> None:
    """Refuse a picture in an unknown format, or without segments."""
    from ..inference.writers import check_output

    check_output(picture, (".png", ".svg"), "--picture", inputs)
    if segments is None:
        raise UserError("--picture: needs segments of a recording; add --segments speech")


def _require_one_recording(paths: Collection[str], destination: _Destination) -> None:
    """Refuse several recordings for a picture or a file that describes one.

    Without this check the error would come after the last prediction.
    """
    if len(paths) < 2:
        return
    if destination.picture is not None:
        raise UserError(
            f"--picture: shows one recording, and there are {len(paths)}; predict one at a time"
        )
    output = destination.paths.get("--output")
    if output is not None and output.suffix.lower() in (".textgrid", ".txt"):
        raise UserError(
            f"--output: a {output.suffix} file describes one recording, and there are "
            f"{len(paths)}; write .rttm or .csv, or predict one at a time"
        )


def seconds_table(seconds: Mapping[str | None, Mapping[str, float]], labels: Sequence[str]) -> str:
    """The seconds of each label by speaker, as lines to print."""
    found = {label for of_speaker in seconds.values() for label in of_speaker}
    shown = [label for label in (*labels, "unknown") if label in found]
    lines = [f"{'speaker':<16}" + "".join(f"{label:>11}" for label in shown) + f"{'all':>11}"]
    for speaker, of_speaker in seconds.items():
        cells = [of_speaker.get(label, 0.0) for label in shown]
        numbers = "".join(f"{value:>9.1f} s" for value in [*cells, sum(cells)])
        lines.append(f"{speaker or '(not known)':<16}{numbers}")
    return "\n".join(lines)


def _is_main_process(device: str | None) -> bool:
    """Select the GPU of this process, and return whether this process writes the output."""
    import torch
    from accelerate import PartialState

    # With cpu=True, PartialState also works for several processes without GPUs.
    state = PartialState(cpu=device == "cpu" or not torch.cuda.is_available())
    return state.is_main_process


def _print_counts(
    paths: Mapping[str, Path],
    *,
    rows: int,
    unit: str,
    skipped: int,
    embedding: str | None,
    file: TextIO,
) -> None:
    """Print the number of predictions, and the files that contain them."""
    from ..report.views import counted

    if paths or skipped:
        skipped_unit = "segment" if unit == "segment" else "file"
        left_out = f", {counted(skipped, skipped_unit)} left out" if skipped else ""
        print(f"{counted(rows, unit)}{left_out}", file=file)
    for key, path in paths.items():
        kind = f" ({embedding})" if key == "--embeddings" else ""
        print(f"  {key.removeprefix('--')}{kind}: {path}", file=file)
