"""Errors of recordings that were embedded in a dataset and are files of the cache now."""

import re
from collections.abc import Iterable
from pathlib import Path

from ..utils.segments import Segment
from ..utils.unpacked import row_of
from .decode import AudioError
from .segment_reader import named

_KEY = re.compile(r"-[0-9a-f]{8,}$")  # at the end of the name of an unpacked folder


def named_by_row(
    error: AudioError,
    paths: Iterable[str | None],
    ids: Iterable[str],
    segments: Iterable[Segment | None],
) -> AudioError:
    """The error about a file in the cache as one that names the row of the dataset, and its id.

    The remedies for a file of the user, such as removing it, would not help: the file would be
    unpacked again. Errors about other files are returned unchanged.

    Args:
        error: its message begins with the path of the file, or with the name of a segment.
        paths: the path of the audio of each clip.
        ids: the id of each clip.
        segments: the part of the recording of each clip; None for a whole recording.
    """
    message = str(error)
    for path, clip_id, segment in zip(paths, ids, segments, strict=True):
        name = path if segment is None else named(path, segment)
        if path is None or not message.startswith((f"{path}: ", f"{name}: ")):
            continue
        row = row_of(path)
        if row is None:
            return error
        reason = message.removeprefix(f"{name}: ").removeprefix(f"{path}: ").partition("; ")[0]
        dataset = _KEY.sub("", Path(path).parent.name)
        return type(error)(
            f"{dataset}, row {row} ({clip_id}): {reason}; correct it in the dataset, "
            f"or leave it out with corpus.exclude: [{clip_id}]"
        )
    return error
