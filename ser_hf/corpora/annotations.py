"""Recordings with the files of annotation tools beside them (corpus name `annotations`).

    calls/0001.wav      calls/0001.TextGrid
    calls/0002.flac     calls/0002.rttm

`corpus.root` is a folder. An annotation file has the name of its recording, with the suffix of its
format: .TextGrid (Praat), .txt (label tracks of Audacity, tab-delimited text of ELAN), .tsv (ELAN)
or .rttm. An RTTM file may also annotate several recordings, which its lines name. Each annotated
interval is a clip, a segment of its recording.

In TextGrids and ELAN the tier `corpus.tier` has the emotions and the tier `corpus.speaker_tier` the
speakers. A file without a tier of emotions has a tier for each speaker, with the emotions of this
speaker. In Audacity a label is the emotion, or speaker, colon and emotion (``anna: angry``). In
RTTM the subtype is the emotion, and the name the speaker. If the annotations name no speaker,
`corpus.speaker_pattern` can find one in the path of the recording.

TextGrids need the package praatio: ``pip install "ser_hf[annotations]"``.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from ..utils.annotations import ANNOTATION_SUFFIXES, Turn, read_turns
from ..utils.errors import UserError
from ..utils.files import folders_below
from .files import audio_files
from .rows import DescribedSettings, Row, RowParser, checked_prefix, relative
from .schema import Listing
from .segments import require_single_rows


class AnnotationsSettings(DescribedSettings):
    """Settings of a folder of annotated recordings."""

    name: Annotated[
        Literal["annotations"], Field(description="recordings with files of annotation tools")
    ] = "annotations"
    corpus_name: Annotated[str, Field(description="the prefix of ids and speakers")] = "annotations"
    tier: Annotated[
        str | None,
        Field(
            description="the tier of emotions in TextGrids and ELAN; null: `emotion`, or, if there "
            "is no such tier, each tier has the emotions of the speaker that it is named after"
        ),
    ] = None
    speaker_tier: Annotated[
        str | None,
        Field(description="the tier of speakers in TextGrids and ELAN; null: `speaker`, if any"),
    ] = None

    @field_validator("corpus_name")
    @classmethod
    def _check_corpus_name(cls, name: str) -> str:
        return checked_prefix(name)


def parse(settings: AnnotationsSettings) -> Listing:
    """Read the annotated segments of all recordings below the root.

    Raises:
        UserError: if an annotation file is wrong or has no recording, or there is none.
    """
    folder = settings.root and os.path.normpath(settings.root)
    recordings = audio_files(folder, settings.corpus_name)
    root = Path(folder)
    annotations = _annotation_files(root)
    if not annotations:
        raise UserError(
            f"corpus.root: {root} holds no annotation file ({', '.join(ANNOTATION_SUFFIXES)})"
        )
    recording_of_name = _by_name(recordings)
    parser = RowParser(settings.corpus_name, settings)
    rows = []
    annotated = set()
    for file in annotations:
        for turn in read_turns(file, settings.tier, settings.speaker_tier):
            recording = _recording(file, turn, recording_of_name)
            annotated.add(recording)
            rows.append(_row(turn, recording, root))
    require_single_rows(rows)

    listing = parser.listing(rows)
    for recording in recordings:
        if recording not in annotated:
            listing.skipped.append((str(recording), "no annotation"))
    return listing


def _annotation_files(root: Path) -> list[Path]:
    """The annotation files below a folder, sorted."""
    files = []
    # `audio_files` has reported unreadable folders.
    for folder, names in folders_below(root, lambda error: None):
        for name in names:
            if name.lower().endswith(ANNOTATION_SUFFIXES):
                files.append(Path(folder, name))
    return sorted(files)


def _by_name(recordings: Sequence[Path]) -> dict[Path | str, Path]:
    """The recordings by their path without suffix, and by their name if only one has it."""
    by_name: dict[Path | str, Path] = {}
    recordings_of_stem: dict[str, list[Path]] = {}
    for recording in recordings:
        by_name[recording.with_suffix("")] = recording
        recordings_of_stem.setdefault(recording.stem, []).append(recording)
    for stem, same_stem in recordings_of_stem.items():
        if len(same_stem) == 1:
            by_name[stem] = same_stem[0]
    return by_name


def _recording(file: Path, turn: Turn, recording_of_name: Mapping[Path | str, Path]) -> Path:
    """The recording of a turn: the one that the line names, or the one beside the file."""
    recording = None
    if turn.recording is not None:
        recording = recording_of_name.get(turn.recording)
    if recording is None:
        recording = recording_of_name.get(file.with_suffix(""))
    if recording is None:
        name = turn.recording or file.stem
        raise UserError(
            f"{turn.where}: no recording named {name}; put it beside the annotation file, with the "
            "same name"
        )
    return recording


def _row(turn: Turn, recording: Path, root: Path) -> Row:
    """Make the row of a turn."""
    path = relative(recording, root)
    return Row(
        where=turn.where,
        path=recording,
        name=path.removesuffix(recording.suffix),
        searched_path=path,
        label=turn.label,
        speaker=turn.speaker,
        segment=turn.segment,
    )
