"""The recipe sections audio, freeze, lora, evaluation and hub."""

import re
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypedDict

from pydantic import Field, model_validator

from ..audio.decode import SHORTEST
from ..utils.settings import NotNegativeInt, OpenShare, PathName, Positive, Settings, Share, Width

if TYPE_CHECKING:
    from ..training.freezing import Freezing

_REPOSITORY = re.compile(r"([A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]{0,95}")

Seconds = Annotated[float, Field(ge=SHORTEST, le=86_400)]


class AudioSettings(Settings):
    """The preparation of waveforms, after channels are averaged and the clip is resampled.

    These settings, except the random crop, are published in the feature extractor, so that
    `pipeline` prepares clips as in training.
    """

    sampling_rate: Annotated[
        int, Field(ge=1000, le=384_000, description="Hz; files are resampled to it")
    ] = 16000
    trim_silence: Annotated[
        float | None,
        Field(
            description="cut the start and the end of a clip that are at least this many dB below "
            "its loudest part; null: off"
        ),
    ] = None
    level: Annotated[
        Literal["auto", "peak", "loudness"] | None,
        Field(
            description="set every clip to the same peak or the same loudness; auto: the same "
            "loudness if speakers differ in recording level; null: as recorded"
        ),
    ] = "auto"
    target_level: Annotated[
        float | None,
        Field(
            description="the level to set: dBFS for peak (null: -1), LUFS for loudness (null: -23)"
        ),
    ] = None
    fixed_duration: Annotated[
        float | None, Field(description="seconds: cut or pad every clip to this length")
    ] = None
    max_duration: Annotated[
        Seconds | None,
        Field(
            description="seconds: longer training clips are cropped at a random place, which is "
            "new in every epoch"
        ),
    ] = None
    normalize: Annotated[
        bool | None,
        Field(
            description="standardize each clip to zero mean and unit variance; null: as the "
            "checkpoint does, and off for networks from scratch"
        ),
    ] = None
    cache_dir: Annotated[
        PathName | None, Field(description="folder of prepared waveforms and cached outputs")
    ] = None


class FreezeSettings(Settings):
    """The frozen parts of an encoder or a transferred network."""

    feature_encoder: Annotated[bool, Field(description="freeze the convolutional stem")] = False
    layers: Annotated[
        NotNegativeInt,
        Field(description="freeze this many lowest layers, and everything below them"),
    ] = 0
    top_layers: Annotated[
        NotNegativeInt | None,
        Field(description="train only this many highest layers and the head"),
    ] = None
    encoder: Annotated[bool, Field(description="freeze the whole encoder")] = False
    cache: Annotated[
        bool, Field(description="compute the output of the frozen layers once for each clip")
    ] = False

    @property
    def freezing(self) -> "Freezing":
        """The rule that decides which parameters are trained.

        Raises:
            UserError: for settings that contradict each other.
        """
        # The import loads torch, which reading a recipe should not wait for.
        from ..training.freezing import Freezing

        return Freezing(
            feature_encoder=self.feature_encoder,
            layers=self.layers,
            top_layers=self.top_layers,
            encoder=self.encoder,
        )


class LoraSettings(Settings):
    """Low-rank adaptation of an encoder (LoRA, arXiv:2106.09685); off if `rank` is null."""

    rank: Annotated[Width | None, Field(description="rank of the adapters; null: no adapters")] = (
        None
    )
    alpha: Annotated[
        Positive, Field(description="scale of the adapters, divided by their rank")
    ] = 16.0
    dropout: Annotated[Share, Field(description="dropout before the adapters")] = 0.0
    dora: Annotated[
        bool, Field(description="adapt direction and magnitude separately, arXiv:2402.09353")
    ] = False
    rslora: Annotated[
        bool, Field(description="divide alpha by the square root of the rank, arXiv:2312.03732")
    ] = False
    targets: Annotated[
        list[str] | None, Field(description="names of linear layers; null: the usual ones")
    ] = None

    @model_validator(mode="after")
    def _check_rank(self) -> Self:
        if self.rank is None and self.changed_keys():
            raise ValueError(
                "rank: missing; the other keys of lora have no effect without it (8 is usual)"
            )
        if self.targets == []:
            raise ValueError(
                "targets: expected names of linear layers, or null for the usual ones, got none"
            )
        return self


class EvaluationSettings(Settings):
    """The evaluation of the selected checkpoint."""

    part: Annotated[
        Literal["test", "validation"],
        Field(description="evaluated split; validation leaves the test split unused"),
    ] = "test"
    window: Annotated[
        Seconds | None,
        Field(
            description="seconds: longer clips are evaluated in windows; null: only clips that are "
            "too long for the model"
        ),
    ] = None
    bootstrap: Annotated[
        int, Field(ge=1, le=100_000, description="resamples of speakers and clips for intervals")
    ] = 2000
    confidence: Annotated[OpenShare, Field(description="confidence of the intervals")] = 0.95
    temperature: Annotated[
        Literal["none", "report", "store"],
        Field(
            description="temperature of the probabilities, fitted on the validation split "
            "(arXiv:1706.04599); report: only report it; store: also store it in the weights"
        ),
    ] = "report"
    rating_scale: Annotated[
        Literal["none", "store"],
        Field(
            description="of task dimensions: a linear map of the predictions to the scale of the "
            "ratings, fitted on the validation split, where it does not lower the CCC of speakers "
            "that it was not fitted on; store: put it into the weights"
        ),
    ] = "store"
    error: Annotated[
        OpenShare,
        Field(
            description="the share of wrong predictions that the threshold of the published model "
            "is to keep; a clip below the threshold is better called unknown"
        ),
    ] = 0.1
    label_threshold: Annotated[
        OpenShare | None,
        Field(
            description="for the task multi_label: the probability above which a label is "
            "predicted; null: the one with the best macro-F1 on validation"
        ),
    ] = None
    robustness: Annotated[
        bool, Field(description="also evaluate copies of the clips with noise, codecs and so on")
    ] = False
    noise_folder: Annotated[
        PathName | None,
        Field(description="folder of recordings of noise, which robustness also adds to the clips"),
    ] = None
    impulse_folder: Annotated[
        PathName | None,
        Field(
            description="folder of impulse responses of rooms with an RT60 of 0.1 to 1.5 s, in "
            "which robustness also plays the clips"
        ),
    ] = None
    map: Annotated[
        Literal["pca", "tsne", "umap"] | None,
        Field(
            description="map of the embeddings of the evaluated clips, with the silhouettes of "
            "emotions and speakers; umap needs `ser_hf[umap]`; null: no map"
        ),
    ] = "pca"
    hardest_clips: Annotated[
        int,
        Field(
            ge=0,
            le=6,
            description="number of the hardest clips of which the report shows waveform, "
            "spectrogram and, by occlusion, the parts on which the prediction depends",
        ),
    ] = 6
    audio: Annotated[
        bool,
        Field(
            description="players of the hardest clips in the report, which then contains "
            "recordings; a published report has none"
        ),
    ] = True
    adapt: Annotated[
        Literal["speaker", "folder", "recording"] | None,
        Field(
            description="also report the results with embeddings that are moved to the statistics "
            "of the training speakers, for each speaker, folder or recording, without labels; "
            "marked as transductive"
        ),
    ] = None
    per_speaker: Annotated[
        bool,
        Field(
            description="with scikit-learn: also report the results with features that are "
            "standardized per speaker, marked as transductive"
        ),
    ] = False
    learning_curve: Annotated[
        bool,
        Field(
            description="also train on fewer speakers and on fewer clips, and say whether more of "
            "either would help; takes about four times as long"
        ),
    ] = False
    pictures: Annotated[
        Literal["pdf"] | None,
        Field(
            description="pdf: also write each picture of the report as PDF, as wide as a column of "
            "a paper (8.5 cm); null: only PNG and SVG"
        ),
    ] = None

    @model_validator(mode="after")
    def _check_folders(self) -> Self:
        for key in ("noise_folder", "impulse_folder"):
            if getattr(self, key) is not None and not self.robustness:
                raise ValueError(f"{key}: has no effect without robustness: true")
        return self


class Publication(TypedDict):
    """The arguments of `ser_hf.hub.publish.publish` that a recipe sets."""

    repo_id: str | None
    private: bool
    report_repo: str | None
    space: bool
    benchmark: str | None


class HubSettings(Settings):
    """Settings for publishing the finished run, as `ser-hf publish` does."""

    repo: Annotated[
        str | None,
        Field(description="repository of the model, USER/NAME; null: nothing is published"),
    ] = None
    private: Annotated[bool, Field(description="make new repositories private")] = True
    report_repo: Annotated[str | None, Field(description="repository of the report, USER/NAME")] = (
        None
    )
    space: Annotated[bool, Field(description="also publish a demo of the model")] = False
    benchmark: Annotated[
        str | None,
        Field(
            description="dataset on the Hub whose leaderboard shows the result, USER/NAME or "
            "USER/NAME:TASK"
        ),
    ] = None

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for key in ("repo", "report_repo"):
            name = getattr(self, key)
            if name is not None and _REPOSITORY.fullmatch(name) is None:
                raise ValueError(
                    f"{key}: expected USER/NAME, of letters, digits, -, _ and ., got {name!r:.100}"
                )
        for key in ("report_repo", "space", "benchmark"):
            if self.repo is None and getattr(self, key):
                raise ValueError(
                    f"{key}: nothing is published while hub.repo is null; name a repository there"
                )
        return self

    @property
    def publication(self) -> Publication:
        """The arguments of `ser_hf.hub.publish.publish`."""
        return Publication(
            repo_id=self.repo,
            private=self.private,
            report_repo=self.report_repo,
            space=self.space,
            benchmark=self.benchmark,
        )
