"""The sentences of the synthetic corpus, and the times of their syllables."""

from dataclasses import dataclass

import numpy as np

# Two letters make a syllable; the first syllable of a word is stressed. All sentences are made of
# the same sounds.
SENTENCES: tuple[str, ...] = (
    "sato mina kelu fa",
    "lami fako seta nu",
    "niko tase mulafa",
    "kuma safi lota ne",
    "tani melo fasu ka",
    "mefa luka sito na",
)


@dataclass(frozen=True)
class Syllable:
    """A syllable of a consonant and a vowel, with its position in samples."""

    consonant: str
    vowel: str
    stressed: bool
    start: int  # sample at which the consonant begins
    nucleus: int  # sample at which the vowel begins
    stop: int


def timed_syllables(
    sentence: str, tempo: float, rng: np.random.Generator, sampling_rate: int
) -> list[Syllable]:
    """Place the syllables of a sentence on the time axis.

    There is a pause between words, and the last syllable is longer.

    Args:
        sentence: words of syllables of two letters.
        tempo: syllables per second.
        rng: draws the lengths of syllables and pauses.
        sampling_rate: Hz.
    """
    words = sentence.split()
    clock = 0.08  # seconds
    syllables = []
    for word_number, word in enumerate(words):
        for letter in range(0, len(word), 2):
            stressed = letter == 0
            final = word_number == len(words) - 1 and letter == len(word) - 2
            stress_factor = 1.1 if stressed else 0.9
            final_factor = 1.3 if final else 1.0
            length = stress_factor * final_factor * rng.uniform(0.88, 1.12) / tempo
            syllable = Syllable(
                consonant=word[letter],
                vowel=word[letter + 1],
                stressed=stressed,
                start=int(clock * sampling_rate),
                nucleus=int((clock + 0.32 * length) * sampling_rate),
                stop=int((clock + length) * sampling_rate),
            )
            syllables.append(syllable)
            clock += length
        clock += rng.uniform(0.1, 0.3) / tempo
    return syllables
