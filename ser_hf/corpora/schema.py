"""The rows of every corpus: columns, canonical emotions, and their `datasets.Dataset`."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Audio, ClassLabel, Dataset, Features, List, Value

from ..utils.errors import UserError
from ..utils.files import require_utf8

# The order of every label list that a recipe does not order itself.
EMOTIONS = (
    *("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise", "calm", "boredom"),
    *("excited", "frustrated", "contempt", "other"),
)


@dataclasses.dataclass(frozen=True)
class Clip:
    """One recording as its file name (or table) describes it. `speaker` and `id` have the corpus as a prefix.

    `word` is the emotion's spelling in the name or table; None if the emotion comes from raters' votes. `votes` are
    {emotion: votes or share}; `extra` becomes further columns, such as `session`. `corpus` is set in mixtures.
    """

    path: str
    emotion: str
    speaker: str
    id: str
    sex: str | None = None
    age: int | None = None
    language: str | None = None
    sentence: str | None = None
    intensity: str | None = None
    take: int | None = None
    votes: Mapping[str, float] | None = None
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    corpus: str | None = None
    word: str | None = None


@dataclasses.dataclass(frozen=True)
class Listing:
    """The result of a parser: the clips in a stable order, and what it left out with the reason."""

    corpus: str
    clips: list[Clip]
    skipped: list[tuple[str, str]] = dataclasses.field(default_factory=list)


COLUMNS = {
    "speaker": Value("string"),
    "corpus": Value("string"),
    "id": Value("string"),
    "sex": Value("string"),
    "age": Value("int32"),
    "language": Value("string"),
    "sentence": Value("string"),
    "intensity": Value("string"),
    "take": Value("int32"),
    "duration": Value("float32"),
    "content_hash": Value("string"),
}
# The speaker (after the corpus's prefix) of clips with an unknown speaker that a recipe loads with `no_speaker: one`.
# Splits treat it apart, because any test speaker may be among them.
UNNAMED = "unknown"
# Names that an extra column cannot have.
RESERVED = {"audio", "label", "votes", *COLUMNS}


def to_dataset(
    listing: Listing,
    emotions: Sequence[str],
    labels: Sequence[str],
    sampling_rate: int,
    votes: Sequence[Sequence[float] | None] | None = None,
) -> Dataset:
    """The rows as a `datasets.Dataset`; `emotions` are the clips' classes, `labels` the classes in order.

    `duration` and `content_hash` are null until `ser_hf.audio.prepare` has decoded the audio. There is a column
    `votes` (probabilities over the labels) if `votes` are given, and one column for each key of the clips' `extra`,
    as text if its values have several types. The Audio column is cast, because encoding needs torchcodec.

    Raises:
        UserError: if no clip is left, an extra column has a reserved name, or a path is not UTF-8.
    """
    clips = listing.clips
    if not clips:
        raise UserError(f"corpus.root: {listing.corpus} has no clip left")
    for clip in clips:
        require_utf8(clip.path)
    rows: dict[str, list] = {"audio": [clip.path for clip in clips], "label": list(map(labels.index, emotions))}
    for name in COLUMNS:
        rows[name] = [getattr(clip, name, None) for clip in clips]
    rows["corpus"] = [clip.corpus or listing.corpus for clip in clips]
    features = {"audio": Value("string"), "label": ClassLabel(names=list(labels)), **COLUMNS}
    if votes is not None:
        rows["votes"] = [None if shares is None else list(shares) for shares in votes]
        features["votes"] = List(Value("float32"), length=len(labels))
    for name in dict.fromkeys(key for clip in clips for key in clip.extra):
        if name in features:
            raise UserError(
                f"corpus.root: {listing.corpus} has a column {name!r}, which is a reserved name; rename it"
            )
        rows[name] = [clip.extra.get(name) for clip in clips]
        known = [value for value in rows[name] if value is not None]
        if len({float if type(value) is int else type(value) for value in known}) > 1:  # in several corpora
            rows[name] = [None if value is None else str(value) for value in rows[name]]
            known = []
        features[name] = Dataset.from_dict({name: known}).features[name] if known else Value("string")
    dataset = Dataset.from_dict(rows, features=Features(features))
    return dataset.cast_column("audio", Audio(sampling_rate=sampling_rate, decode=False))


def require_unique_ids(clips: Sequence[Clip]) -> None:
    """Raises a UserError for an id in two places: a doubled folder, `a.wav` beside `a.flac`, two rows of a table."""
    first: dict[str, str] = {}
    for clip in clips:
        if clip.id in first:
            raise UserError(
                f"{clip.path}: its id {clip.id} is at {first[clip.id]} too; an id names one clip: remove one of the "
                "two (mirrors often double a folder), or give it another id"
            )
        first[clip.id] = clip.path
