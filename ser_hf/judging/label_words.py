"""What a model's own labels mean: each word of its answers as one of our emotions, or as nothing that we know."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..corpora.schema import EMOTIONS
from ..corpora.table_rows import SYNONYMS
from ..errors import UserError

# In a label map: the answer is not counted, and the others share its probability.
IGNORED = "none"
_SEX = re.compile(r"^(female|male)[\s_-]+", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Meaning:
    """The classes that answers are judged in, and for each word of the model its class.

    Args:
        words: the model's labels, in their order.
        classes: emotions in canonical order, then words that mean none of them: what is answered by those is wrong,
            but it is an answer.
        of: of each word its class, None where the answer is not counted.
    """

    words: list[str]
    classes: list[str]
    of: list[str | None]

    def judged(self, probabilities: np.ndarray) -> np.ndarray:
        """(..., words) -> float32 (..., classes): words of one meaning add up, and rows to 1."""
        places = np.zeros((len(self.words), len(self.classes)))
        for i, name in enumerate(self.of):
            if name is not None:
                places[i, self.classes.index(name)] = 1
        sums = np.asarray(probabilities, np.float64) @ places
        total = sums.sum(axis=-1, keepdims=True)
        # All of it may have gone to answers that are not counted.
        shares = np.divide(sums, total, out=np.full_like(sums, 1 / len(self.classes)), where=total > 0)
        return shares.astype(np.float32)

    def told(self) -> list[dict[str, Any]]:
        """[{word, emotion, counted}] of every word: `emotion` is None for one that means none known here, which is
        counted as a wrong answer, and for one that is not counted."""
        return [
            {"word": word, "emotion": name if name in EMOTIONS else None, "counted": name is not None}
            for word, name in zip(self.words, self.of, strict=True)
        ]


def meaning_of(words: Sequence[str], label_map: Mapping[str, str] | None = None) -> Meaning:
    """What the labels of a model mean.

    A word is an emotion of ours, a common name of one (`ser_hf.corpora.table_rows.SYNONYMS`; in any capitals, with or
    without the speaker's sex before it, as in ``female_happy``), or what `label_map` says.

    Args:
        label_map: the model's word -> emotion, or ``none`` for an answer that is not to be counted.

    Raises:
        UserError: naming ``--label-map``, for a word that the model does not answer, an emotion that there is not, and
            where not two of its words mean an emotion.
    """
    label_map = label_map or {}
    for word, emotion in label_map.items():
        if word not in words:
            raise UserError(f"--label-map: the model has no label {word!r}; it answers {', '.join(words)}")
        if emotion not in (*EMOTIONS, IGNORED):
            raise UserError(f"--label-map: {word}={emotion}: the emotions are {', '.join(EMOTIONS)}, or {IGNORED}")
    of = [_class(word, label_map) for word in words]
    known = [emotion for emotion in EMOTIONS if emotion in of]
    if len(known) < 2:
        raise UserError(
            f"--label-map: the model answers {', '.join(words)}, of which "
            f"{'none is' if not known else f'only {known[0]} is'} an emotion known here; say what they mean, as in "
            f"{words[0]}=angry"
        )
    others = [name for name in dict.fromkeys(of) if name is not None and name not in EMOTIONS]
    return Meaning(list(words), known + others, of)


def _class(word: str, label_map: Mapping[str, str]) -> str | None:
    if word in label_map:
        return None if label_map[word] == IGNORED else label_map[word]
    plain = _SEX.sub("", word.strip()).strip().lower()
    if plain in EMOTIONS:
        return plain
    return SYNONYMS.get(plain, word)
