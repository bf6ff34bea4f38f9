"""A trained classifier with its preparation and windows."""

import dataclasses

from transformers import PreTrainedModel, SequenceFeatureExtractor, Wav2Vec2FeatureExtractor

from ..evaluation.label_sets import DEFAULT_THRESHOLD
from ..evaluation.tasks import DIMENSIONS, MULTI_LABEL, Task, task_of_problem
from ..loading.encoders import ENCODERS, encoder_config, longest_clip, mask_valid
from ..models.configuration import LABEL_THRESHOLD_KEY, RANGES_KEY
from ..models.modeling_base import AcousticClassifier
from ..models.preparation import Preparation
from ..models.target_heads import dimension_names
from ..utils.errors import UserError


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A model in evaluation mode, in float32, on its device, with its published extractor.

    Args:
        source: the name of the model, as the user wrote it.
        extractor: the feature extractor, without the preparation of waveforms.
        preparation: the preparation of waveforms before the extractor.
        revision: the commit of a model on the Hub, or ``sha256:...`` of the weights in a folder.
        evaluation_window: the value of `evaluation.window` in the model's recipe, in seconds.
        location: the folder that the model was read from, or its Hub id.
        commit: the commit of a model on the Hub.
    """

    source: str
    model: PreTrainedModel
    extractor: SequenceFeatureExtractor
    preparation: Preparation
    revision: str | None
    evaluation_window: float | None
    location: str = ""
    commit: str | None = None

    @property
    def labels(self) -> list[str]:
        """The names of the model's outputs, in their order."""
        names = self.model.config.id2label
        return [names[i] for i in range(self.model.config.num_labels)]

    @property
    def problem_type(self) -> str | None:
        """The meaning of the logits, decided as `pipeline` decides it.

        `ser_hf.evaluation.metrics.activated` uses it.
        """
        return self.model.config.problem_type

    @property
    def task(self) -> Task:
        """What the model predicts: emotions, sets of emotions, or dimensions."""
        return task_of_problem(self.problem_type)

    @property
    def label_threshold(self) -> float | None:
        """The probability above which a label is predicted; None if a clip has one label."""
        if self.task is not MULTI_LABEL:
            return None
        threshold = getattr(self.model.config, LABEL_THRESHOLD_KEY, None)
        if isinstance(threshold, float) and 0 < threshold < 1:
            return threshold
        return DEFAULT_THRESHOLD

    @property
    def ranges(self) -> dict[str, list[float]]:
        """For each dimension, the ratings that the values 0 and 1 stand for; empty for classes."""
        if self.task is not DIMENSIONS:
            return {}
        published_ranges = getattr(self.model.config, RANGES_KEY, None) or {}
        return {name: list(published_ranges.get(name, (0.0, 1.0))) for name in self.labels}

    @property
    def bounded(self) -> bool:
        """Whether the values of dimensions end at 0 and 1: the scale of the ratings is known."""
        return self.task is DIMENSIONS and bool(getattr(self.model.config, RANGES_KEY, None))

    @property
    def rating_ranges(self) -> dict[str, list[float]]:
        """The `ranges` of dimensions that the model predicts beside its labels; else empty."""
        published_ranges = getattr(self.model.config, RANGES_KEY, None) or {}
        return {
            name: list(published_ranges.get(name, (0.0, 1.0)))
            for name in dimension_names(self.model.config)
        }

    @property
    def encoder(self) -> bool:
        """Whether the model contains a speech encoder of Transformers, with any head."""
        return encoder_config(self.model.config).model_type in ENCODERS

    @property
    def padding_safe(self) -> bool:
        """Whether padding leaves predictions unchanged.

        It is False for unknown networks, and for extractors that return no attention mask, because
        `pipeline` calls these without one.
        """
        waveform_extractor = isinstance(self.extractor, Wav2Vec2FeatureExtractor)
        if waveform_extractor and not self.extractor.return_attention_mask:
            return False
        if self.encoder:
            return mask_valid(self.model.config)
        return isinstance(self.model, AcousticClassifier)

    def window(self, seconds: float | None = None, prepared: bool = True) -> int | None:
        """Return the number of samples of the longest window; None for no limit.

        Args:
            seconds: the requested length; None for the recipe's `evaluation.window`.
            prepared: True for windows of prepared clips; False for windows of recordings, which
                models of functionals allow too.

        Raises:
            UserError: if prepared clips are to be divided, and they are vectors of functionals.
        """
        if seconds and prepared and self.preparation.functionals:
            raise UserError(
                f"--window: {self.source} takes functionals of whole clips; "
                "use ser-hf predict --segments windows"
            )
        if seconds is None:
            seconds = self.evaluation_window
        limits = []
        if seconds:
            limits.append(round(seconds * self.extractor.sampling_rate))
        if self.encoder:
            limits.append(longest_clip(self.model.config, self.extractor))
        return min((samples for samples in limits if samples), default=None)
