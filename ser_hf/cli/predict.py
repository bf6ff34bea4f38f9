"""ser-hf predict: labels, probabilities and embeddings of recordings, clip by clip or over time."""

import contextlib
import os
import sys
from typing import Annotated, Literal

from typer import Argument, Exit, Option

from .options import (
    BatchSize,
    Device,
    Model,
    Revision,
    TrustRemoteCode,
    Window,
    exit_on_termination,
)


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
            help="Labels, probabilities and logits: .csv or .jsonl.  [default: standard output]",
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
    timeline: Annotated[
        bool, Option("--timeline", help="Emotion over time, in overlapping windows of 4 s.")
    ] = False,
    hop: Annotated[
        float | None, Option(metavar="S", help="Step of the timeline.  [default: half a window]")
    ] = None,
    batch_size: BatchSize = 16,
    on_error: Annotated[
        Literal["error", "skip"],
        Option(help="End at a file that cannot be read, or leave it out and return 1."),
    ] = "skip",
    device: Device = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Predict the emotions of recordings.

    Writes labels, probabilities, logits and embeddings, clip by clip or over time.

    Example: ser-hf predict runs/ravdess_crnn calls/ --output calls.csv
    """
    from ..inference.chunks import NoneReadable
    from ..inference.load import load_classifier
    from ..inference.predict import (
        PredictionSettings,
        predict_in_processes,
        predict_tables,
        table_metadata,
    )
    from ..inference.recordings import from_paths
    from ..inference.writers import check_output, to_terminal, writing
    from ..report.views import counted

    settings = PredictionSettings(
        embeddings=embeddings is not None,
        window=window,
        batch_size=batch_size,
        on_error=on_error,
        timeline=timeline,
        hop=hop,
    )
    paths = {}
    for key, path, suffixes in (
        ("--output", output, (".csv", ".jsonl")),
        ("--embeddings", embeddings, (".parquet",)),
    ):
        if path is not None:
            paths[key] = check_output(path, suffixes, key, [model, *inputs])
    skipped = []
    rows = 0
    shown = not paths or format is not None
    tables_of = predict_tables
    first = True
    if os.environ.get("WORLD_SIZE", "1") != "1":
        import torch
        from accelerate import PartialState

        # Selects the process's GPU. With cpu=True it counts processes without GPUs too.
        state = PartialState(cpu=device == "cpu" or not torch.cuda.is_available())
        tables_of = predict_in_processes
        first = state.is_main_process
        paths, shown = (paths, shown) if first else ({}, False)
    exit_on_termination()
    try:
        recordings = from_paths(inputs, on_error == "skip")
        classifier = load_classifier(
            model, revision=revision, device=device, trust_remote_code=trust_remote_code
        )
        metadata = table_metadata(classifier, settings)
        with contextlib.ExitStack() as stack:
            writes = [
                stack.enter_context(writing(path, key, metadata)) for key, path in paths.items()
            ]
            if shown:
                writes.append(to_terminal(format or "table", metadata))
            for table in tables_of(classifier, recordings, settings, metadata, skipped):
                rows += len(table)
                for write in writes:
                    write(table)
    except NoneReadable as error:
        if on_error == "error":
            raise
        sys.stderr.write(f"error: {error}\n")
        raise Exit(1) from None
    if not first:
        return
    log = sys.stderr if shown else sys.stdout  # predictions alone go to standard output
    if paths or skipped:
        left_out = f", {counted(len(skipped), 'file')} left out" if skipped else ""
        print(f"{counted(rows, 'window' if timeline else 'clip')}{left_out}", file=log)
    for key, path in paths.items():
        embedding = f" ({metadata.embedding})" if key == "--embeddings" else ""
        print(f"  {key.removeprefix('--')}{embedding}: {path}", file=log)
    if skipped:
        sys.stdout.flush()
        raise Exit(1)
