"""A few clips of each emotion to look at and listen to, picked the same every time."""

from collections.abc import Sequence

from .tables import Row, ordered_labels


def pick(rows: Sequence[Row], each: int = 2) -> list[Row]:
    """Up to `each` clips of every emotion, in canonical order of the emotions, spread over the speakers.

    The speakers of an emotion, one sex after the other, are cut into as many stretches as examples are wanted; from
    stretch to stretch and emotion to emotion another speaker has its turn, with the middle one of its clips by
    length. Silent clips are passed over.
    """
    candidates = [row for row in rows if row.usable and not row.measured.silent]
    labels = ordered_labels(row.clip for row in candidates)
    picked = []
    for position, label in enumerate(labels):
        speakers: dict[tuple[str, str], list[Row]] = {}
        for row in candidates:
            if row.clip.emotion == label:
                speakers.setdefault((row.clip.sex or "", row.clip.speaker), []).append(row)
        order = sorted(speakers)
        count = min(each, len(order))
        for stretch in range(count):
            place = (stretch + position / len(labels)) / count
            own = sorted(
                speakers[order[int(place * len(order))]], key=lambda row: (row.measured.duration, row.clip.id)
            )
            picked.append(own[len(own) // 2])
    return picked
