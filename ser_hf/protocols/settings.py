"""The recipe's section `protocol`: one class for each protocol, with its options."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ..utils.cells import text
from ..utils.settings import Settings

MOST_FOLDS = 1000

Share = Annotated[float, Field(gt=0, lt=1)]
Speakers = Annotated[list[int | str], Field(min_length=1)]
Sentences = Annotated[list[str], Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1, description="seed of the random draw")]

# A share of the speakers that may be in training.
ValidationShare = Annotated[
    Share, Field(description="validation split: share of the training speakers")
]
SharedSpeakers = Annotated[
    bool, Field(description="allow test speakers in the training or validation split")
]

# YAML reads the keys of {0: train, true: test} as a number and a boolean, but a column has words.
CellWord = Annotated[str, BeforeValidator(text)]
PartName = Literal["train", "validation", "test"]


class ProtocolSettings(Settings):
    """The keys that all protocols have: which folds to run, and checks of the splits."""

    name: Annotated[str, Field(description="name of the split rule or of the published list")]
    folds: Annotated[
        list[Annotated[int, Field(ge=1)]] | None,
        Field(
            min_length=1,
            max_length=MOST_FOLDS,
            json_schema_extra={"uniqueItems": True},
            description="numbers of the folds to run, from 1; null: all folds",
        ),
    ] = None
    foil: Annotated[
        Literal["random", "random_stratified"] | None,
        Field(description="leaky protocol to run as well, to show the difference in results"),
    ] = None
    near_duplicates: Annotated[
        Literal["error", "tell", "skip"],
        Field(
            description="near duplicates in two splits: an error (`error`), only counted (`tell`), "
            "or not searched for (`skip`)"
        ),
    ] = "error"
    parent_speakers: Annotated[
        Literal["error", "tell"],
        Field(
            description="test speakers that the model of `model.checkpoint` was trained with: an "
            "error (`error`), or tested, with a warning in the headline (`tell`)"
        ),
    ] = "error"

    @field_validator("folds")
    @classmethod
    def _check_folds(cls, folds: list[int] | None) -> list[int] | None:
        if folds is not None and len(set(folds)) < len(folds):
            raise ValueError(f"expected each number once, got {folds}")
        return folds

    @property
    def options(self) -> dict[str, Any]:
        """The keys that only this protocol has, as keyword arguments of `split_corpus`."""
        return {
            name: getattr(self, name)
            for name in type(self).model_fields
            if name not in ProtocolSettings.model_fields
        }


class SpeakerIndependentSettings(ProtocolSettings):
    """Each speaker is in one of the train, validation and test splits."""

    name: Annotated[
        Literal["speaker_independent"],
        Field(description="each speaker is in one of the train, validation and test splits"),
    ] = "speaker_independent"
    train: Annotated[
        Speakers | None,
        Field(
            description="training speakers, such as `17`, `ravdess:17` or the range `1-16`; "
            "null: all speakers that are not in another split"
        ),
    ] = None
    validation: Annotated[
        Share | Speakers,
        Field(description="validation speakers, or their share of all speakers"),
    ] = 0.15
    test: Annotated[
        Share | Speakers, Field(description="test speakers, or their share of all speakers")
    ] = 0.2
    seed: Seed = 0


class KFoldSettings(ProtocolSettings):
    """`k` folds of speakers; each speaker is a test speaker in one fold."""

    name: Annotated[
        Literal["kfold"],
        Field(description="`k` folds of speakers; each speaker is a test speaker in one fold"),
    ] = "kfold"
    k: Annotated[int, Field(ge=2, le=MOST_FOLDS, description="number of folds")] = 5
    validation: ValidationShare = 0.15
    seed: Seed = 0


class LeaveOneSpeakerOutSettings(ProtocolSettings):
    """One fold for each speaker."""

    name: Annotated[
        Literal["leave_one_speaker_out"], Field(description="one fold for each speaker")
    ] = "leave_one_speaker_out"
    validation: ValidationShare = 0.15
    seed: Seed = 0


class LeaveOneSessionOutSettings(ProtocolSettings):
    """One fold for each recording session."""

    name: Annotated[
        Literal["leave_one_session_out"], Field(description="one fold for each recording session")
    ] = "leave_one_session_out"
    validation: Annotated[
        Share, Field(description="validation split: share of the training sessions, at least one")
    ] = 0.15
    seed: Seed = 0


class LeaveOneCorpusOutSettings(ProtocolSettings):
    """One fold for each corpus of a mixture."""

    name: Annotated[
        Literal["leave_one_corpus_out"], Field(description="one fold for each corpus of a mixture")
    ] = "leave_one_corpus_out"
    validation: Annotated[
        Share, Field(description="validation split: share of the speakers of each training corpus")
    ] = 0.15
    seed: Seed = 0


class SentenceDisjointSettings(ProtocolSettings):
    """Test sentences are in no other split, but test speakers are in training too."""

    name: Annotated[
        Literal["sentence_disjoint"],
        Field(
            description="test sentences are in no other split, but test speakers are in training "
            "too"
        ),
    ] = "sentence_disjoint"
    test: Annotated[
        Share | Sentences, Field(description="test sentences, or their share of all sentences")
    ] = 0.25
    validation: Annotated[
        Share,
        Field(
            description="validation split: share of the other sentences, or of the speakers if "
            "only one other sentence is left"
        ),
    ] = 0.15
    seed: Seed = 0


class SpeakerAndSentenceDisjointSettings(ProtocolSettings):
    """Neither test speakers nor test sentences are in another split."""

    name: Annotated[
        Literal["speaker_and_sentence_disjoint"],
        Field(description="neither test speakers nor test sentences are in another split"),
    ] = "speaker_and_sentence_disjoint"
    validation: Annotated[
        Share | Speakers,
        Field(description="validation speakers, or their share of all speakers"),
    ] = 0.15
    test: Annotated[
        Share | Speakers, Field(description="test speakers, or their share of all speakers")
    ] = 0.2
    test_sentences: Annotated[
        Share | Sentences,
        Field(
            description="sentences of the test clips, or their share of all sentences; train and "
            "validation have the others"
        ),
    ] = 0.25
    seed: Seed = 0


class FileSettings(ProtocolSettings):
    """The splits that a JSON or CSV file lists."""

    name: Annotated[
        Literal["file"], Field(description="the splits that a JSON or CSV file lists")
    ] = "file"
    path: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1000,
            description="JSON file with the ids or speakers of each split, a run's `split.json`, "
            "or a CSV or TSV file with the columns split and id, path or speaker",
        ),
    ]
    shared_speakers: SharedSpeakers = False
    validation: Annotated[
        Share,
        Field(
            description="validation split: share of the training speakers, where the file lists "
            "no validation split"
        ),
    ] = 0.15
    seed: Seed = 0


class ColumnSettings(ProtocolSettings):
    """The splits that columns of the corpus name, such as the official splits of a data set."""

    name: Annotated[
        Literal["column"],
        Field(
            description="the splits that columns of the corpus name, such as the official splits "
            "of a data set"
        ),
    ] = "column"
    column: Annotated[
        str | Annotated[list[str], Field(min_length=1)],
        Field(description="column with the split of each clip, or one column for each fold"),
    ] = "split"
    parts: Annotated[
        dict[CellWord, PartName] | None,
        Field(
            description="split of each word in the column, such as `{0: train, 1: test}`; clips "
            "with other words are left out; null: the words train, validation, test and synonyms"
        ),
    ] = None
    shared_speakers: SharedSpeakers = False
    validation: Annotated[
        Share,
        Field(
            description="validation split: share of the training speakers, where the column names "
            "no validation split"
        ),
    ] = 0.15
    seed: Seed = 0


class EmoBoxListsSettings(ProtocolSettings):
    """EmoBox's folds of the clips that the corpus `emobox` loads."""

    name: Annotated[
        Literal["emobox/lists"],
        Field(description="EmoBox's folds of the clips that the corpus `emobox` loads"),
    ] = "emobox/lists"
    validation: Annotated[
        Share,
        Field(
            description="validation split, where EmoBox lists none: share of the training "
            "speakers, or of the training clips if train and test share speakers"
        ),
    ] = 0.2
    seed: Seed = 0


class PublishedSpeakersSettings(ProtocolSettings):
    """A published list of the speakers of all three splits. It has no options."""

    name: Annotated[
        Literal[
            "ravdess/actors-1-16-17-20-21-24",
            "audb/cremad",
            "emosuperb/cremad",
            "speechbrain/iemocap",
        ],
        Field(
            description="a published list of the speakers of all three splits. It has no options"
        ),
    ]


class PublishedFoldsSettings(ProtocolSettings):
    """Published folds of one corpus, without validation clips."""

    name: Annotated[
        Literal[
            "emobox/cremad",
            "emobox/emodb",
            "emobox/ravdess",
            "emobox/iemocap",
            "emobox/savee",
            "emobox/tess",
            "luna-jimenez/ravdess",
        ],
        Field(description="published folds of one corpus, without validation clips"),
    ]
    validation: Annotated[
        Share,
        Field(
            description="validation split: share of the training speakers where test speakers are "
            "listed (ravdess, savee), of the training clips where test clips are listed"
        ),
    ] = 0.2
    seed: Seed = 0


class CameoSettings(ProtocolSettings):
    """CAMEO by speaker: in each language the speakers with the most clips are for the test."""

    name: Annotated[
        Literal["mteb/cameo"],
        Field(
            description="CAMEO by speaker: in each language the speakers with the most clips are "
            "for the test"
        ),
    ] = "mteb/cameo"
    test: Annotated[
        Share, Field(description="test split: smallest share of the clips of each language")
    ] = 0.35
    validation: ValidationShare = 0.15
    seed: Seed = 0


class RandomSettings(ProtocolSettings):
    """Clips drawn at random: a leaky protocol, whose test speakers are in training too."""

    name: Annotated[
        Literal["random", "random_stratified"],
        Field(
            description="clips drawn at random: a leaky protocol, whose test speakers are in "
            "training too"
        ),
    ]
    validation: Annotated[Share, Field(description="share of the clips for validation")] = 0.2
    test: Annotated[Share, Field(description="share of the clips for the test")] = 0.1
    seed: Seed = 0

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation: {self.validation:g} of the clips, and {self.test:g} for the test, "
                "leave none for training; use smaller shares"
            )
        return self
