"""Auxiliary corpora: clips of others that join the training split (`corpus.auxiliary`).

    corpus:
      name: emodb
      root: data/EMO-DB
      auxiliary:
        - {name: ravdess, root: data/RAVDESS, merge: {calm: neutral}, weight: 0.5}

Each item has the keys of an item of a mixture. `weight` is the number of its clips per epoch,
relative to the number of its clips; `cap` the most clips. The emotions get the classes of the main
corpus: `merge` and `drop` of the main corpus hold here too, those of an item take precedence, and
clips of other emotions are left out. The classes are those of the main corpus alone.
"""

import dataclasses
import re
from collections.abc import Sequence

from ..utils.errors import UserError
from . import mixture
from .labels import Treatment, treat_labels
from .mixture import MixtureSettings
from .schema import Clip
from .settings import CorpusSettings

_OTHER_CLASS = "not a class of the main corpus"


@dataclasses.dataclass(frozen=True)
class Auxiliary:
    """The clips of the auxiliary corpora.

    Attributes:
        listing: all clips of these corpora, as a mixture.
        treatment: the classes, and the class of each clip of the listing.
        left_out: position of a clip that does not become a row -> the reason.
    """

    listing: mixture.Mixed
    treatment: Treatment
    left_out: dict[int, str]

    @property
    def kept(self) -> list[int]:
        """The positions of the clips that become rows."""
        return [i for i in range(len(self.listing.clips)) if i not in self.left_out]

    @property
    def corpora(self) -> frozenset[str]:
        """The names of the corpora."""
        return frozenset(self.listing.members)


def as_mixture(settings: CorpusSettings) -> MixtureSettings:
    """The auxiliary corpora as a mixture, with `merge` and `drop` of the main corpus."""
    return MixtureSettings(
        corpora=settings.auxiliary,
        merge=settings.merge,
        drop=settings.drop,
        on_unknown=settings.on_unknown,
        download=settings.download,
    )


def read_auxiliary(
    settings: CorpusSettings, labels: Sequence[str], names: Sequence[str]
) -> Auxiliary | None:
    """Read the auxiliary corpora; None without any.

    Args:
        settings: the settings of the main corpus.
        labels: the classes of the main corpus.
        names: the names of the main corpus, or of the corpora of a mixture.

    Raises:
        UserError: naming a key of `corpus.auxiliary`, if a corpus cannot be read, has the name of
            another corpus, or has no clip of any class.
    """
    if not settings.auxiliary:
        return None
    try:
        auxiliary = _read(settings, labels)
    except UserError as error:
        raise UserError(auxiliary_keys(str(error))) from None
    for corpus, member in auxiliary.listing.members.items():
        key = auxiliary_keys(member.key)
        if corpus in names:
            raise UserError(
                f"{key}.name: {corpus} is the name of the main corpus too; give it another "
                "corpus_name, or leave it out"
            )
        if not any(auxiliary.listing.clips[i].corpus == corpus for i in auxiliary.kept):
            raise UserError(
                f"{key}: no clip of {corpus} has one of the classes {', '.join(labels)}; map its "
                "emotions with merge, or leave it out"
            )
    return auxiliary


def auxiliary_keys(text: str) -> str:
    """A message or key about the mixture, with the keys of `corpus.auxiliary`."""
    return re.sub(r"(?<![\w./-])corpus\.corpora\[", "corpus.auxiliary[", text)


def _read(settings: CorpusSettings, labels: Sequence[str]) -> Auxiliary:
    """Read the clips, and leave out those whose emotion is no class of the main corpus."""
    listing = mixture.parse(as_mixture(settings))
    clips = sorted(listing.clips, key=_id_of)
    listing = dataclasses.replace(listing, clips=clips)
    rules = {corpus: member.rule for corpus, member in listing.members.items()}
    treatment = treat_labels(
        clips,
        merge=settings.merge,
        drop=settings.drop,
        rule_of_corpus=rules,
        least=1,
    )
    emotions = []
    left_out = {}
    for i, emotion in enumerate(treatment.emotions):
        if emotion is None:
            left_out[i] = "dropped"
        elif emotion not in labels:
            left_out[i] = _OTHER_CLASS
        emotions.append(None if i in left_out else emotion)
    for i, reason in mixture.beyond_caps(listing, clips, emotions).items():
        left_out[i] = auxiliary_keys(reason)
    votes = _votes(treatment, labels)
    return Auxiliary(listing, Treatment(list(labels), emotions, votes), left_out)


def _id_of(clip: Clip) -> str:
    return clip.id


def _votes(treatment: Treatment, labels: Sequence[str]) -> list[list[float] | None] | None:
    """The votes over the classes of the main corpus; votes for other emotions are ignored."""
    if treatment.votes is None:
        return None
    votes: list[list[float] | None] = []
    for shares in treatment.votes:
        if shares is None:
            votes.append(None)
            continue
        share_of = dict(zip(treatment.labels, shares, strict=True))
        values = [share_of.get(label, 0.0) for label in labels]
        total = sum(values)
        votes.append([value / total for value in values] if total else None)
    return votes
