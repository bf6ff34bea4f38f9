"""Several corpora as one (corpus name `mixture`).

    corpus:
      name: mixture
      corpora:
        - {name: ravdess, root: data/RAVDESS}
        - {name: cremad, root: data/CREMA-D, target: voice, weight: 0.5}
        - {name: tess, root: data/TESS, merge: {surprise: happy}, cap: 800}
      merge: {calm: neutral}

Each item of `corpora` has the keys of its corpus. The keys `labels` and `exclude` are for the whole
mixture and are written beside `corpora`. The keys `merge` and `drop` beside `corpora` are for all
corpora; those of an item are for its corpus only, and take precedence.

- `cap`: the maximum number of clips of a corpus in all splits together. They are drawn with
  `corpus.seed`, so that the proportions of the speakers, and of the emotions of each speaker, stay
  the same. The other clips are neither decoded nor evaluated.
- `weight`: the number of clips of a corpus per epoch, relative to the number of its training clips.
  With 0.5 each epoch has one half of the clips, and the halves take turns; with 2 each epoch has
  each clip twice. With `training.balance: class` the weight is the relative size of a corpus in
  each class, and the sum of the weighted sizes is the number of clips of an epoch.

The names of speakers and sessions begin with their corpus. Sentences do not, because two corpora
may have the same sentence. If only some corpora have a column, it is null in the others.
"""

import dataclasses
import functools
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, SerializeAsAny, create_model, model_validator

from ..utils.errors import UserError
from ..utils.order import interleave
from ..utils.settings import OneOf, Settings
from .labels import Rule, rule_problem
from .metadata import Metadata
from .registry import SINGLE_CORPORA, class_of_settings, metadata_of
from .schema import Clip, Listing, SkipKind
from .settings import AnyPath, CorpusSettings, OnUnknown, refuse


class MixtureItem(Settings):
    """One corpus of a mixture, with the keys that every item has.

    `item_class` makes the subclass that also has the options of the corpus.
    """

    name: Annotated[str, Field(description="the corpus")]
    root: Annotated[
        AnyPath | None, Field(description="the folder of the audio, or the table of the clips")
    ] = None
    on_unknown: Annotated[
        OnUnknown | None, Field(description="as in corpus; null: that of the mixture")
    ] = None
    merge: Annotated[
        dict[str, str], Field(description="emotion: class; takes precedence over the mixture's")
    ] = {}
    drop: Annotated[
        list[str], Field(description="emotions to leave out, besides those of the mixture")
    ] = []
    # A larger weight is a mistake, and its epoch would not fit in memory.
    weight: Annotated[
        float,
        Field(gt=0, le=100, description="clips of an epoch relative to the training clips"),
    ] = 1.0
    cap: Annotated[int | None, Field(ge=1, description="the most clips in all splits together")] = (
        None
    )

    def corpus_settings(self, on_unknown: OnUnknown, partial: bool = False) -> CorpusSettings:
        """The settings of the corpus without those for the mixture, such as `weight`.

        Args:
            on_unknown: the value of the mixture, which is used if the item has none.
            partial: the value of the mixture.
        """
        only_of_items = ("on_unknown", "merge", "drop", "weight", "cap")
        values = {
            key: getattr(self, key) for key in type(self).model_fields if key not in only_of_items
        }
        settings_class = class_of_settings(SINGLE_CORPORA[self.name])
        on_unknown = self.on_unknown or on_unknown
        return settings_class(on_unknown=on_unknown, partial=partial, **values)

    def rule(self, key: str) -> Rule:
        """The rule for the emotions of the corpus; `key` is the item's key, for messages."""
        return Rule(self.merge, self.drop, key, _custom_labels(self))

    @model_validator(mode="after")
    def _check_corpus(self) -> Self:
        self.corpus_settings("error")  # raises an error if the keys contradict each other
        problem = rule_problem(self.merge, self.drop, _custom_labels(self))
        if problem is not None:
            refuse(getattr(self, problem.key), problem.message, problem.key)
        return self


def _custom_labels(item: MixtureItem) -> Sequence[str]:
    """The custom labels of the corpus, which only a table can have."""
    return getattr(item, "custom_labels", None) or ()


@functools.cache
def item_class(name: str) -> type[MixtureItem]:
    """Make the class of the items for a corpus: `MixtureItem` with the options of the corpus."""
    settings = class_of_settings(SINGLE_CORPORA[name])
    fields: dict[str, Any] = {}
    for key, field in settings.model_fields.items():
        if key == "name" or key not in CorpusSettings.model_fields:
            fields[key] = (field.annotation, field)
    class_name = settings.__name__.replace("Settings", "Item")
    return create_model(class_name, __base__=MixtureItem, **fields)


class MixtureSettings(CorpusSettings):
    """Settings of a mixture."""

    name: Annotated[Literal["mixture"], Field(description="several corpora as one")] = "mixture"
    corpora: Annotated[
        list[
            Annotated[
                SerializeAsAny[MixtureItem],
                OneOf("name", lambda: list(SINGLE_CORPORA), item_class, noun="corpus"),
            ]
        ],
        Field(description="for each corpus its name, root, merge, drop, weight, cap and options"),
    ]
    seed: Annotated[int, Field(ge=0, description="seed of the random choice for cap")] = 0

    @model_validator(mode="before")
    @classmethod
    def _require_corpora(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and not values.get("corpora"):
            message = (
                "missing; a mixture lists its corpora, such as "
                "[{name: ravdess, root: data/RAVDESS}, {name: cremad, root: data/CREMA-D}]"
            )
            refuse(values, message, "corpora")
        return values

    @model_validator(mode="after")
    def _refuse_root(self) -> Self:
        if self.root is not None:
            message = "a mixture has none; each corpus of corpus.corpora has its own"
            refuse(self.root, message, "root")
        return self


@dataclasses.dataclass(frozen=True)
class Member:
    """One corpus of a mixture.

    Attributes:
        key: the key of its item in the recipe, such as ``corpus.corpora[1]``.
        item: the item.
        listing: the clips of the corpus.
    """

    key: str
    item: MixtureItem
    listing: Listing

    @property
    def rule(self) -> Rule:
        return self.item.rule(self.key)


@dataclasses.dataclass(frozen=True)
class Mixed(Listing):
    """The clips of a mixture.

    Attributes:
        members: name of the corpus -> its member.
        seed: the seed of the random choice for `cap`.
    """

    members: dict[str, Member] = dataclasses.field(default_factory=dict)
    seed: int = 0


def parse(settings: MixtureSettings) -> Mixed:
    """Read the clips of all corpora of the mixture."""
    clips = []
    skipped = []
    kind_of_reason: dict[str, SkipKind] = {}
    notes: list[str] = []
    accounts: list[str] = []
    members: dict[str, Member] = {}
    for position, item in enumerate(settings.corpora):
        member = _read_member(f"corpus.corpora[{position}]", item, settings)
        corpus = member.listing.corpus
        if corpus in members:
            remedy = "list it once, with one root"
            if "corpus_name" in type(item).model_fields:
                remedy = "give each another corpus_name"
            raise UserError(
                f"{member.key}.name: {corpus} is already used by {members[corpus].key}; {remedy}"
            )
        members[corpus] = member
        skipped += member.listing.skipped
        notes += member.listing.notes
        accounts += member.listing.accounts
        kind_of_reason |= member.listing.kind_of_reason
        for clip in member.listing.clips:
            clips.append(_clip_of_member(clip, corpus))
    return Mixed(
        corpus="mixture",
        clips=clips,
        skipped=skipped,
        kind_of_reason=kind_of_reason,
        notes=notes,
        accounts=accounts,
        members=members,
        seed=settings.seed,
    )


def _read_member(key: str, item: MixtureItem, settings: MixtureSettings) -> Member:
    """Read one corpus of a mixture.

    Errors of the corpus name the keys of its item, such as ``corpus.corpora[1].song``.
    """
    try:
        listing = SINGLE_CORPORA[item.name].parse(
            item.corpus_settings(settings.on_unknown, settings.partial)
        )
    except UserError as error:
        # Replace `corpus.` only at the start of a word, so that a folder called corpus.x in a path
        # is not changed.
        message = re.sub(r"(?<![\w./-])corpus\.", f"{key}.", str(error))
        raise UserError(message) from None
    if not listing.clips:
        raise UserError(
            f"{key}.root: {item.root} holds no clip of {item.name} "
            f"({len(listing.skipped)} files skipped)"
        )
    return Member(key, item, listing)


def _clip_of_member(clip: Clip, corpus: str) -> Clip:
    """Set the corpus of a clip, and put the corpus in front of its session."""
    extra = dict(clip.extra)
    if extra.get("session") is not None:
        extra["session"] = f"{corpus}:{extra['session']}"
    return dataclasses.replace(clip, corpus=corpus, extra=extra)


def beyond_caps(
    listing: Mixed, clips: Sequence[Clip], emotions: Sequence[str | None]
) -> dict[int, str]:
    """Choose the clips to leave out because their corpus has more clips than its cap.

    The remaining clips keep the proportions of the speakers, and of the classes of each speaker.

    Args:
        listing: the mixture.
        clips: the clips to choose from.
        emotions: the class of each clip; a clip with None is ignored.

    Returns:
        Position in `clips` -> the reason.
    """
    reasons = {}
    for corpus, member in listing.members.items():
        cap = member.item.cap
        if cap is None:
            continue
        positions = []
        groups = []
        for i, clip in enumerate(clips):
            if clip.corpus == corpus and emotions[i] is not None:
                positions.append(i)
                groups.append((clip.speaker, emotions[i]))
        order = interleave(groups, np.random.default_rng(listing.seed))
        for position_in_corpus in order[cap:]:
            reasons[positions[position_in_corpus]] = f"over {member.key}.cap"
    return reasons


def require_clips_of_all(listing: Mixed, clips: Sequence[Clip]) -> None:
    """Raise a UserError if a corpus of the mixture has none of the clips.

    Otherwise the results would be for fewer corpora than the recipe lists.
    """
    corpora_with_clips = {clip.corpus for clip in clips}
    for corpus, member in listing.members.items():
        if corpus not in corpora_with_clips:
            raise UserError(
                f"corpus.drop, corpus.exclude: no clip of {corpus} ({member.key}) is left; "
                "keep some, or remove it from the list"
            )


def metadata_of_each(settings: MixtureSettings, trained_on: Collection[str] = ()) -> list[Metadata]:
    """The metadata of each corpus of a mixture.

    Args:
        trained_on: names of corpora, as in the rows. If all of them are in the mixture, only their
            metadata are returned; otherwise those of all corpora.
    """
    selected = []
    for item in settings.corpora:
        if (getattr(item, "corpus_name", None) or item.name) in trained_on:
            selected.append(item)
    items = settings.corpora
    if trained_on and len(selected) == len(trained_on):
        items = selected
    return [metadata_of(item.corpus_settings("error")) for item in items]
