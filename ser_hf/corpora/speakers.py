"""The names of speakers: one spelling for each speaker, in tables and across corpora and models."""

from collections.abc import Iterable, Sequence

from ..utils.names import compared, shown, spellings, usual_spelling

_LISTED = 5  # speakers in one note


def one_spelling_each(speakers: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Find speakers with several spellings, such as anna and ANNA, or 1 and 1.0.

    They are one speaker: if they were two, a speaker-independent split could have one person in
    training and in test. If they are two people, a split that keeps both together is still right.

    Returns:
        Unusual spelling -> the usual one, and the notes that name them (empty without any).
    """
    usual: dict[str, str] = {}
    listed = []
    for counts in spellings(speakers).values():
        chosen = usual_spelling(counts)
        others = [spelling for spelling in counts if spelling != chosen]
        usual |= dict.fromkeys(others, chosen)
        listed.append(f"{shown(chosen)} also as {', '.join(map(shown, sorted(others)))}")
    if not listed:
        return {}, []
    names = "; ".join(listed[:_LISTED])
    if len(listed) > _LISTED:
        names += f"; and {len(listed) - _LISTED} more"
    number = "1 speaker is" if len(listed) == 1 else f"{len(listed)} speakers are"
    note = (
        f"{number} spelled in several ways, which differ only in case, form, spaces or zeros, and "
        f"counted as one each: {names}."
    )
    return usual, [note]


def speaker_key(speaker: str) -> str:
    """The text by which a speaker with its corpus, such as ``csv:Anna``, is compared."""
    corpus, colon, name = speaker.partition(":")
    return f"{compared(corpus)}{colon}{compared(name)}"


class KnownSpeakers:
    """The speakers of a model, to find the same speakers in another corpus.

    Args:
        speakers: names with their corpus, such as ``csv:anna``.
    """

    def __init__(self, speakers: Iterable[str]):
        self._keys = {speaker_key(speaker) for speaker in speakers}

    def __contains__(self, speaker: str | None) -> bool:
        return speaker is not None and speaker_key(speaker) in self._keys
