"""The rows of every corpus: canonical emotions, columns, and the dataset of clips."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from datasets import Audio, ClassLabel, Dataset, Features, List, Value

from ..utils.errors import UserError
from ..utils.files import require_utf8

# The color of each emotion on pages and in figures. Seven are from Okabe and Ito (2008). The others
# were chosen so that color-blind readers can distinguish all of them (CIELAB distances of 15 or
# more in simulated protan, deutan and tritan vision).
EMOTION_COLORS = {
    "angry": "#d55e00",
    "disgust": "#009e73",
    "fear": "#cc79a7",
    "happy": "#f0e442",
    "neutral": "#5f5f5f",
    "sad": "#0072b2",
    "surprise": "#e69f00",
    "calm": "#56b4e9",
    "boredom": "#8a2be2",
    "excited": "#8b2500",
    "frustrated": "#99cc77",
    "contempt": "#4433aa",
    "other": "#bbbbbb",
}
# The canonical order: the classes are in this order unless a recipe lists them in another one.
EMOTIONS = tuple(EMOTION_COLORS)
# Other usual name of an emotion -> canonical emotion.
SYNONYMS = {
    "anger": "angry",
    "ang": "angry",
    "disgusted": "disgust",
    "dis": "disgust",
    "fearful": "fear",
    "fea": "fear",
    "happiness": "happy",
    "hap": "happy",
    "joy": "happy",
    "neu": "neutral",
    "sadness": "sad",
    "surprised": "surprise",
    "sur": "surprise",
    "calmness": "calm",
    "bored": "boredom",
    "excitement": "excited",
    "exc": "excited",
    "frustration": "frustrated",
    "fru": "frustrated",
    "contemptuous": "contempt",
    "oth": "other",
}


# Why a row of a table is not a clip: its audio is missing, or its label or speaker is unknown.
# Why a file is not a clip: its name is unknown, it is a copy of another file, or the rules of the
# corpus leave it out.
SkipKind = Literal["absent", "unknown label", "unknown speaker", "unknown name", "copy", "left out"]


@dataclasses.dataclass(frozen=True)
class Clip:
    """One recording or segment, as its file name or its row in a table describes it.

    Attributes:
        path: the path of the audio file.
        emotion: the canonical emotion or custom label.
        speaker: the speaker, with the corpus as a prefix, such as ``cremad:1001``.
        id: the unique id, with the corpus as a prefix, such as ``cremad/1001_IEO_ANG_HI``.
        take: the number of the repetition.
        votes: emotion -> its number or share of votes.
        extra: further columns, such as `session`.
        corpus: the name of the corpus; only set in mixtures.
        original_label: the label as the file name or the table has it; None if the emotion is the
            result of votes.
        start: the beginning of a segment in its recording, in seconds; None for a whole recording.
        end: the end of a segment; None for a whole recording, and for its end.
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
    original_label: str | None = None
    start: float | None = None
    end: float | None = None

    @property
    def name(self) -> str:
        """The id without the corpus: for most corpora the official file name without suffix."""
        return self.id.partition("/")[2]


def is_unlabeled(clip: Clip) -> bool:
    """Whether the table has no label for a clip (`partial`)."""
    return clip.emotion == NO_LABEL and clip.original_label is None and clip.votes is None


@dataclasses.dataclass(frozen=True)
class Listing:
    """The clips of a corpus, and the files or rows that were skipped.

    Attributes:
        corpus: the name of the corpus.
        clips: the clips in a reproducible order.
        skipped: path and reason of each file or row that is not a clip.
        kind_of_reason: reason -> its kind, for the reasons that have one.
        notes: sentences about the table or its rows, for the log, the report and inspections.
        accounts: for each table its lines by their use, for the log and inspections.
    """

    corpus: str
    clips: list[Clip]
    skipped: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    kind_of_reason: Mapping[str, SkipKind] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()
    accounts: Sequence[str] = ()


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
    "start": Value("float64"),
    "end": Value("float64"),
    "duration": Value("float32"),
    "content_hash": Value("string"),
}
# The speaker (after the corpus's prefix) of clips with an unknown speaker that a recipe loads with
# `no_speaker: one`. Splits have a special case for it, because these clips may be of any speaker,
# also of a test speaker.
UNNAMED = "unknown"
# The emotion of a clip without a label: of every row of a table that has only ratings, and with
# `partial` of rows with an empty label.
NO_LABEL = "other"
# Names that an extra column cannot have.
RESERVED = {"audio", "label", "votes", "targets", *COLUMNS}


def to_dataset(
    listing: Listing,
    emotions: Sequence[str | None],
    labels: Sequence[str],
    sampling_rate: int,
    votes: Sequence[Sequence[float] | None] | None = None,
    targets: Sequence[Mapping[str, float | None]] | None = None,
) -> Dataset:
    """Make a `datasets.Dataset` with one row per clip.

    The columns `duration` and `content_hash` are null until `ser_hf.audio.prepare` has decoded the
    audio. Each key of the clips' `extra` becomes a column; if its values have several types, they
    become text.

    Args:
        listing: the clips.
        emotions: the class of each clip; None for a clip without a label.
        labels: the classes in the order of their ids.
        sampling_rate: the sampling rate of the column `audio`, in Hz.
        votes: the column `votes`: for each clip, probabilities over the labels.
        targets: the column `targets`: for each clip, dimension -> rating from 0 to 1.

    Raises:
        UserError: if there are no clips, a path is not UTF-8, or a column has a reserved name.
    """
    clips = listing.clips
    if not clips:
        raise UserError(f"corpus.root: every clip of {listing.corpus} is dropped or excluded")
    for clip in clips:
        require_utf8(clip.path)

    columns: dict[str, list] = {
        "audio": [clip.path for clip in clips],
        "label": _label_ids(emotions, labels),
    }
    for name in COLUMNS:
        columns[name] = [getattr(clip, name, None) for clip in clips]
    columns["corpus"] = [clip.corpus or listing.corpus for clip in clips]
    features = {"audio": Value("string"), "label": ClassLabel(names=list(labels)), **COLUMNS}
    if votes is not None:
        columns["votes"] = [None if shares is None else list(shares) for shares in votes]
        features["votes"] = List(Value("float32"), length=len(labels))
    if targets is not None:
        columns["targets"] = list(targets)
        features["targets"] = {dimension: Value("float32") for dimension in targets[0]}
    for name in _extra_names(listing, reserved=features):
        values = [clip.extra.get(name) for clip in clips]
        columns[name], features[name] = _extra_column(values)

    dataset = Dataset.from_dict(columns, features=Features(features))
    # The paths are cast to audio, because encoding them as audio needs torchcodec.
    return dataset.cast_column("audio", Audio(sampling_rate=sampling_rate, decode=False))


def _label_ids(emotions: Sequence[str | None], labels: Sequence[str]) -> list[int]:
    """The ids of the classes; -1, the id of a missing label in `datasets`, without a class."""
    ids: dict[str | None, int] = {label: i for i, label in enumerate(labels)}
    ids[None] = -1
    return [ids[emotion] for emotion in emotions]


def _extra_names(listing: Listing, reserved: Collection[str]) -> list[str]:
    """The names of the further columns, in their order in the clips.

    Raises:
        UserError: if a name is reserved.
    """
    names = list(dict.fromkeys(name for clip in listing.clips for name in clip.extra))
    for name in names:
        if name in reserved or "\0" in name:
            raise UserError(
                f"corpus.root: {listing.corpus} has a column {name!r}, a reserved name; rename it"
            )
    return names


def _extra_column(values: list[Any]) -> tuple[list[Any], Any]:
    """Convert the values of a further column to one type, and return them with their feature.

    In a mixture a column may contain numbers in one corpus and text in another. Then all values
    become text.
    """
    present = [value for value in values if value is not None]
    types = {float if type(value) is int else type(value) for value in present}
    if len(types) > 1:
        return [None if value is None else str(value) for value in values], Value("string")
    if not present:
        return values, Value("string")
    return values, Dataset.from_dict({"column": present}).features["column"]


def require_unique_ids(clips: Sequence[Clip]) -> None:
    """Raise a UserError if two clips have the same id.

    Possible causes are `a.wav` beside `a.flac`, two versions of a recording, or two rows of a
    table. Equal copies of a file are already left out (`ser_hf.corpora.files.parse_files`).
    """
    path_of_id: dict[str, str] = {}
    for clip in clips:
        if clip.id in path_of_id:
            raise UserError(
                f"{clip.path}: its id {clip.id} is also the id of {path_of_id[clip.id]}; "
                "remove one of the two, or give it another id"
            )
        path_of_id[clip.id] = clip.path
