"""Synthetic: a built-in corpus of speech-like signals that needs no files.

Any number of speakers, half of them female, say six invented sentences in six emotions. The corpus
is for first experiments with the toolkit, for tests and for controls. A model that is trained on it
does not recognize emotions in real speech.

License: CC0 1.0. File names: the fields of `s03_angry_007.wav` are speaker, emotion and take.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import soundfile
from pydantic import Field, model_validator
from tqdm.auto import tqdm

from ..utils.cache import built_once, cache_root, key_of
from .schema import Clip, Listing
from .settings import CorpusSettings, refuse
from .synthesis import EMOTIONS, GENERATOR_VERSION, SAMPLING_RATE, SENTENCES, utterance, voice

LICENSE = "cc0-1.0"
LANGUAGE = None
TITLE = "Synthetic"
URL = None
CITATION = None
ACTED = False

MOST = 100_000  # the largest product of speakers and takes, which is days of audio


class SyntheticSettings(CorpusSettings):
    """Settings of the synthetic corpus. The clips are generated below the root or in the cache."""

    name: Annotated[Literal["synthetic"], Field(description="generated speech")] = "synthetic"
    speakers: Annotated[
        int, Field(ge=3, description="number of speakers; even numbers are balanced by sex")
    ] = 24
    takes: Annotated[int, Field(ge=1, description="clips of each speaker and emotion")] = 8
    seed: Annotated[
        int, Field(ge=0, description="seed of the voices and of every random detail of the clips")
    ] = 0
    shuffle_labels: Annotated[
        bool, Field(description="exchange the labels among the clips of each speaker, as a control")
    ] = False

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if self.speakers * self.takes > MOST:
            message = (
                f"expected at most {MOST:,} speakers times takes, "
                f"got {self.speakers} x {self.takes}"
            )
            refuse(self.speakers, message, "speakers")
        return self


def parse(settings: SyntheticSettings) -> Listing:
    """List the clips, and generate their files unless they exist.

    Equal settings give equal samples.
    """
    parts_of_name = {}
    for speaker in range(settings.speakers):
        for emotion in EMOTIONS:
            for take in range(settings.takes):
                name = f"s{speaker:02d}_{emotion}_{take:03d}"
                parts_of_name[name] = (speaker, emotion, take)

    folder = _folder(settings)
    with built_once(folder) as fresh:
        if fresh is not None:
            progress = tqdm(
                parts_of_name.items(), desc="generating speech", unit="clip", disable=None
            )
            for name, (speaker, emotion, take) in progress:
                samples = utterance(speaker, emotion, take, settings.seed)
                soundfile.write(fresh / f"{name}.wav", samples, SAMPLING_RATE, subtype="PCM_16")

    clips = []
    for name, (speaker, emotion, take) in parts_of_name.items():
        clip = Clip(
            path=str(folder / f"{name}.wav"),
            emotion=emotion,
            speaker=f"synthetic:{speaker:02d}",
            id=f"synthetic/{name}",
            sex=voice(speaker, settings.seed).sex,
            sentence=f"sentence {take % len(SENTENCES) + 1}",
            take=take,
        )
        clips.append(clip)
    if settings.shuffle_labels:
        clips = _shuffled(clips, settings.seed)
    return Listing("synthetic", clips)


def _folder(settings: SyntheticSettings) -> Path:
    """The folder of the clips; its name has a hash of everything that the samples depend on."""
    parent = cache_root() / "synthetic" if settings.root is None else Path(settings.root)
    values = {
        "generator": GENERATOR_VERSION,
        "speakers": settings.speakers,
        "takes": settings.takes,
        "seed": settings.seed,
    }
    return parent / key_of(values)


def _shuffled(clips: list[Clip], seed: int) -> list[Clip]:
    """Permute the emotions among the clips of each speaker."""
    generator = np.random.default_rng(seed)
    shuffled = list(clips)
    for speaker in sorted({clip.speaker for clip in clips}):
        positions = [i for i, clip in enumerate(clips) if clip.speaker == speaker]
        for i, j in zip(positions, generator.permutation(positions), strict=True):
            shuffled[i] = replace(clips[i], emotion=clips[j].emotion)
    return shuffled
