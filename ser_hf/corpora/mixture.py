"""Several corpora as one (corpus name `mixture`).

    corpus:
      name: mixture
      corpora:
        - {name: ravdess, root: data/RAVDESS}
        - {name: cremad, root: data/CREMA-D, target: voice, weight: 0.5}
        - {name: tess, root: data/TESS, merge: {surprise: happy}, cap: 800}
      merge: {calm: neutral}

Each item takes the keys of its corpus; `labels` and `exclude` belong beside `corpora`, and so do
`merge` and `drop` for all corpora; those of an item take precedence.

- `cap`: the maximum number of clips of a corpus in all splits together, drawn by `corpus.seed` with
  speakers in proportion, and the emotions of each speaker. The other clips are neither decoded nor
  evaluated.
- `weight`: the clips of a corpus per epoch, relative to the number of its training clips: with 0.5
  one half of them in each epoch, in turn; with 2 each twice. With `training.balance: class` it is
  the relative size of a corpus in each class, and an epoch has as many clips as the weights give.

Speakers and sessions have their corpus as a prefix; a sentence may occur in two corpora. A column
that only some corpora have is null in the others.
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
from .schema import Clip, Listing
from .settings import AnyPath, CorpusSettings, OnUnknown, refuse


class MixtureItem(Settings):
    """One corpus of a mixture: the keys besides the options of the corpus.

    `item_class` has the class with the options too.
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
    # A larger weight is a mistake, and an epoch of it would not fit in memory.
    weight: Annotated[
        float,
        Field(gt=0, le=100, description="clips of an epoch relative to the training clips"),
    ] = 1.0
    cap: Annotated[int | None, Field(ge=1, description="the most clips in all splits together")] = (
        None
    )

    def corpus_settings(self, on_unknown: OnUnknown) -> CorpusSettings:
        """The settings of the corpus by itself.

        Args:
            on_unknown: of the mixture, if the item has none.
        """
        only_of_items = ("on_unknown", "merge", "drop", "weight", "cap")
        values = {
            key: getattr(self, key) for key in type(self).model_fields if key not in only_of_items
        }
        settings_class = class_of_settings(SINGLE_CORPORA[self.name])
        return settings_class(on_unknown=self.on_unknown or on_unknown, **values)

    def rule(self, key: str) -> Rule:
        """The merged and dropped emotions of the corpus; `key` names the item in messages."""
        return Rule(self.merge, self.drop, key, _custom_labels(self))

    @model_validator(mode="after")
    def _check_corpus(self) -> Self:
        self.corpus_settings("error")  # checks keys against each other
        problem = rule_problem(self.merge, self.drop, _custom_labels(self))
        if problem is not None:
            refuse(getattr(self, problem.key), problem.message, problem.key)
        return self


def _custom_labels(item: MixtureItem) -> Sequence[str]:
    """The labels of a table that are no canonical emotions."""
    return getattr(item, "custom_labels", None) or ()


@functools.cache
def item_class(name: str) -> type[MixtureItem]:
    """The class of the items for one corpus: `MixtureItem` with the options of the corpus."""
    settings = class_of_settings(SINGLE_CORPORA[name])
    fields: dict[str, Any] = {}
    for key, field in settings.model_fields.items():
        if key == "name" or key not in CorpusSettings.model_fields:
            fields[key] = (field.annotation, field)
    class_name = settings.__name__.replace("Settings", "Item")
    return create_model(class_name, __base__=MixtureItem, **fields)


class MixtureSettings(CorpusSettings):
    """Keys of a mixture."""

    name: Annotated[Literal["mixture"], Field(description="several corpora as one")] = "mixture"
    corpora: Annotated[
        list[
            Annotated[
                SerializeAsAny[MixtureItem], OneOf("name", lambda: list(SINGLE_CORPORA), item_class)
            ]
        ],
        Field(description="for each corpus its name, root, merge, drop, weight, cap and options"),
    ]
    seed: Annotated[int, Field(ge=0, description="of the draw for cap")] = 0

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
    """One corpus of a mixture: its key in the recipe (``corpus.corpora[1]``), its item, and its
    listing.
    """

    key: str
    item: MixtureItem
    listing: Listing

    @property
    def rule(self) -> Rule:
        return self.item.rule(self.key)


@dataclasses.dataclass(frozen=True)
class Mixed(Listing):
    """The clips of several corpora, with the members by corpus name."""

    members: dict[str, Member] = dataclasses.field(default_factory=dict)
    seed: int = 0


def parse(settings: MixtureSettings) -> Mixed:
    """Read all the corpora."""
    clips = []
    skipped = []
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
        for clip in member.listing.clips:
            clips.append(_clip_of_member(clip, corpus))
    return Mixed("mixture", clips, skipped, members, settings.seed)


def _read_member(key: str, item: MixtureItem, settings: MixtureSettings) -> Member:
    """Read one corpus; errors name its keys, such as ``corpus.corpora[1].song``."""
    try:
        listing = SINGLE_CORPORA[item.name].parse(item.corpus_settings(settings.on_unknown))
    except UserError as error:
        # A key begins a word: folders of that name stay.
        message = re.sub(r"(?<![\w./-])corpus\.", f"{key}.", str(error))
        raise UserError(message) from None
    if not listing.clips:
        raise UserError(
            f"{key}.root: {item.root} holds no clip of {item.name} "
            f"({len(listing.skipped)} files skipped)"
        )
    return Member(key, item, listing)


def _clip_of_member(clip: Clip, corpus: str) -> Clip:
    """The clip with its corpus, and with the corpus as a prefix of its session."""
    extra = dict(clip.extra)
    if extra.get("session") is not None:
        extra["session"] = f"{corpus}:{extra['session']}"
    return dataclasses.replace(clip, corpus=corpus, extra=extra)


def beyond_caps(
    listing: Mixed, clips: Sequence[Clip], emotions: Sequence[str | None]
) -> dict[int, str]:
    """Positions of the clips that exceed the cap of their corpus, each with the reason.

    The remaining clips keep the proportions of the speakers, and of each speaker's classes.

    Args:
        emotions: the class of each clip; clips of None are ignored.
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
        for place in order[cap:]:
            reasons[positions[place]] = f"over {member.key}.cap"
    return reasons


def require_clips_of_all(listing: Mixed, clips: Sequence[Clip]) -> None:
    """Raise a UserError if no clip of one of the corpora is left: results would be about fewer
    corpora than listed.
    """
    corpora_with_clips = {clip.corpus for clip in clips}
    for corpus, member in listing.members.items():
        if corpus not in corpora_with_clips:
            raise UserError(
                f"corpus.drop, corpus.exclude: no clip of {corpus} ({member.key}) is left; "
                "keep some, or remove it from the list"
            )


def metadata_of_each(settings: MixtureSettings, trained_on: Collection[str] = ()) -> list[Metadata]:
    """Metadata of each corpus.

    Args:
        trained_on: limits them to the corpora with these names (as in the rows), if all of these
            are in the list.
    """
    selected = []
    for item in settings.corpora:
        if (getattr(item, "corpus_name", None) or item.name) in trained_on:
            selected.append(item)
    items = settings.corpora
    if trained_on and len(selected) == len(trained_on):
        items = selected
    return [metadata_of(item.corpus_settings("error")) for item in items]
