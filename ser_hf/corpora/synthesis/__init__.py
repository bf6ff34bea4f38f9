"""Speech-like signals: the sound of the synthetic corpus, for tests and for examples.

`voices` draws a speaker and how an emotion changes the voice, `sentences` places syllables in
time, and `speech` makes samples of both.
"""

from .sentences import SENTENCES
from .speech import GENERATOR_VERSION, SAMPLING_RATE, utterance
from .voices import EMOTIONS, Prosody, Voice, clip_prosody, voice

__all__ = [
    "EMOTIONS",
    "GENERATOR_VERSION",
    "SAMPLING_RATE",
    "SENTENCES",
    "Prosody",
    "Voice",
    "clip_prosody",
    "utterance",
    "voice",
]
