"""The sections of a report that contain numbers, as classes for the results of evaluation.

`ser_hf.report.report.Report` composes them. The keys of report.json, its JSON schema and the page
on report keys follow from the fields.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from .metrics import METRICS
from .tasks import TASKS

Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
# The projections of a map of embeddings.
MapMethod = Literal["pca", "tsne", "umap"]
Interval = Annotated[list[float], Field(min_length=2, max_length=2)]
Counts = list[list[Count]]
Intervals = dict[str, Interval | None]


def _sentence(name: str) -> str:
    """The definition of a metric as a sentence."""
    definition = METRICS[name].definition
    return f"{definition[0].upper()}{definition[1:]}."


def _metric_schemas() -> dict[str, dict[str, Any]]:
    """The JSON schema of each metric, with its definition."""
    schemas: dict[str, dict[str, Any]] = {}
    for name in METRICS:
        schemas[name] = {"description": _sentence(name), "type": ["number", "null"]}
    loss = "The training loss on this split, nats."
    schemas["loss"] = {"description": loss, "type": "number"}
    return schemas


Scores = Annotated[
    dict[str, float | None], Field(json_schema_extra={"properties": _metric_schemas()})
]


class Section(BaseModel):
    """A part of the report. Keys that were not measured are absent from report.json, as they are
    None here.
    """

    model_config = ConfigDict(
        protected_namespaces=(), allow_inf_nan=False, validate_by_name=True, validate_by_alias=True
    )

    def filled(self) -> dict[str, Any]:
        """The values that were set, by field name."""
        return {
            name: getattr(self, name)
            for name in type(self).model_fields
            if name in self.model_fields_set
        }

    def to_dict(self) -> dict[str, Any]:
        """The section as JSON values, with the keys that were set."""
        return self.model_dump(exclude_unset=True, by_alias=True)


class ClassScores(Section):
    """Results for one class."""

    precision: float = Field(
        description="Share of the predictions of this class that are correct, 0 to 1."
    )
    recall: float = Field(
        description="Share of the clips of this class that are recognized, 0 to 1."
    )
    f1: float = Field(description="Harmonic mean of precision and recall, 0 to 1.")
    support: Count = Field(description="Clips of this class.")
    recall_interval: Interval | None = Field(
        None, description="Interval of the recall over speakers and their clips."
    )


class DimensionScores(Section):
    """Results for one dimension; ratings and predictions from 0 to 1."""

    ccc: float | None = Field(None, description="Concordance correlation coefficient, -1 to 1.")
    pearson: float | None = Field(
        None, description="Pearson's correlation, -1 to 1; null if undefined."
    )
    mae: float = Field(description="Mean absolute error.")
    rmse: float = Field(description="Root mean squared error.")
    ccc_interval: Interval | None = Field(
        None, description="Interval of the CCC over speakers and their clips."
    )
    target_mean: float = Field(description="Mean of the ratings.")
    target_deviation: float = Field(description="Standard deviation of the ratings.")
    predicted_mean: float = Field(description="Mean of the predictions.")
    predicted_deviation: float = Field(
        description="Standard deviation of the predictions, mean over seeds."
    )
    outside: Share = Field(
        description="Share of the predictions outside of the scale; if the scale is known, they "
        "are clamped to its ends."
    )


class RatingCalibration(Section):
    """Linear map of one predicted dimension to the scale of the ratings, fitted on validation.

    The published model contains it. Slope 1 and offset 0: the outputs stay as they are, because a
    map would lower the CCC of other speakers. `before` and `after` are of the evaluated split.
    """

    slope: Positive = Field(description="The output of the network is multiplied by it.")
    offset: float = Field(description="It is then added; the scale has the length 1.")
    ccc_before: float | None = Field(description="CCC without the map; null if undefined.")
    ccc_after: float | None = Field(description="CCC of the published model.")
    outside_before: Share = Field(description="Share of the clips outside of the scale without it.")
    outside_after: Share = Field(description="Share outside with it; the values are clamped.")


class Bin(Section):
    """One bin of the reliability diagram."""

    low: float = Field(description="Lower bound.")
    high: float = Field(description="Upper bound.")
    clips: Amount = Field(description="Clips in the bin, mean over seeds.")
    confidence: float | None = Field(
        description="Mean probability of the predictions; null for an empty bin."
    )
    accuracy: float | None = Field(
        description="Share of correct predictions; null for an empty bin."
    )


class Calibration(Section):
    """Calibration of the probabilities."""

    bins: list[Bin] = Field(description="15 equal bins of the predicted probability.")
    ece: float = Field(description="Expected calibration error, 0 to 1.")


class ProbabilityScores(Section):
    """Metrics of the probabilities."""

    log_loss: float = Field(description="Log loss, nats; lower is better.")
    ece: float = Field(description="Expected calibration error, 0 to 1.")
    brier: float = Field(description="Brier score, 0 to 2.")


class Temperature(Section):
    """Temperature scaling, fitted on validation (Guo et al. 2017)."""

    value: Positive = Field(description="The logits are divided by it.")
    fitted_on: str = Field(description="The split.")
    before: ProbabilityScores = Field(description="On the evaluated split, without it.")
    after: ProbabilityScores = Field(description="On the evaluated split, with it.")
    stored: bool = Field(description="Whether the published model applies it.")


def _headline_scores() -> type[Section]:
    """A section with a field for each headline metric of any task."""
    fields: dict[str, Any] = {}
    for task in TASKS.values():
        for name in task.headline:
            fields[name] = (float | None, Field(None, description=_sentence(name)))
    return create_model("HeadlineScores", __base__=Section, __module__=__name__, **fields)


class CleanScores(_headline_scores()):
    """Results for some clips: those of a group, unchanged ones, or means over conditions."""

    interval: Interval | None = Field(
        None, description="Interval of the main metric of the task: `uar`, `ccc` or `macro_f1`."
    )


class Slice(CleanScores):
    """Results for one group of clips; no interval for fewer than three speakers."""

    clips: Count = Field(description="Clips in the group.")
    speakers: Count | None = Field(
        None, description="Speakers in the group; null if one is unknown."
    )


class Gap(Section):
    """The groups with the highest and the lowest score."""

    metric: str = Field(description="The compared metric.")
    best: str = Field(description="Group with the highest score.")
    worst: str = Field(description="Group with the lowest score.")
    gap: float = Field(description="Difference of the two scores.")
    interval: Interval | None = Field(None, description="Interval of the difference.")


class Perceived(Section):
    """Results against the clips' second label: the perceived emotion, or the intended one."""

    by: str = Field(
        description="The other label: perceived (by most raters) or intended (by the speaker)."
    )
    clips: Count = Field(description="Clips that have it.")
    agreement: float = Field(description="Share of these clips on which both labels agree, 0 to 1.")
    metrics: Scores = Field(description="Against the other label.")
    same_clips: Scores = Field(description="The same clips against the labels of the report.")
    counts: Counts = Field(description="Labels of the report in rows, the other labels in columns.")


class Collision(Section):
    """A class that is often confused with another one."""

    label: str = Field(description="The class.")
    taken_for: str = Field(description="The most frequent wrong prediction.")
    share: float = Field(description="Share of the clips of the class, 0 to 1.")
    foreign: bool = Field(description="Whether the corpus has no such label.")


class CorpusScores(Section):
    """Results for one corpus."""

    clips: Count = Field(description="Evaluated clips.")
    speakers: Count = Field(description="Speakers of these clips.")
    metrics: Scores = Field(description="Over the classes of the corpus.")
    per_class: dict[str, ClassScores] = Field(description="By label.")
    confusion: Counts = Field(
        description="Counts of clips: true classes in rows, predicted classes in columns."
    )
    collisions: list[Collision] = Field(
        description="Classes with a fifth of the clips predicted as one other."
    )


class Occlusion(Section):
    """How much the probability of the predicted class drops without parts of a clip."""

    probability: Share = Field(description="Probability of the predicted class for the whole clip.")
    seconds: Positive = Field(description="Length of a window, s; windows overlap.")
    starts: list[Amount] = Field(description="Start of each window, s.")
    drop_by_window: list[float] = Field(
        description="Drop of the probability with silence in each window; negative for a rise."
    )
    edges: list[Amount] = Field(description="Edges of the frequency bands, Hz.")
    drop_by_band: list[float] = Field(description="Drop of the probability without each band.")


class SpeakerScore(Section):
    """One speaker that the model was not trained on."""

    clips: Count = Field(description="Clips.")
    uar: Share = Field(description="UAR over the classes of this speaker.")
    most: str = Field(description="The class that is predicted most often.")
    share: Share = Field(description="Share of the predictions with that class.")
    one_class: bool = Field(
        False, description="Whether that is over 80 %, and at most 40 % of the labels."
    )
    rarely: list[str] = Field(
        [], description="Classes with three or more clips and a recall up to 0.1."
    )


class SpeakerScores(Section):
    """The scores of speakers that the model was not trained on, with ten or more clips each."""

    basis: str = Field(description="Who the speakers are, in words.")
    speakers: Count = Field(description="Speakers.")
    chance: Share = Field(description="UAR of guessing.")
    mean: Share = Field(description="Mean UAR of the speakers.")
    quartiles: Annotated[list[Share], Field(min_length=5, max_length=5)] = Field(
        description="Lowest UAR, lower quartile, median, upper quartile, highest."
    )
    lowest: dict[str, SpeakerScore] = Field(
        description="The speakers with the lowest UAR first, at most 24."
    )
    near_chance: list[str] = Field(
        [], description="Speakers whose UAR is less than a tenth of the way from chance to 1."
    )
    one_class: list[str] = Field(
        [], description="Speakers with over 80 % of their predictions in one class."
    )


class NewSpeaker(Section):
    """What to expect from a new speaker."""

    evaluated: SpeakerScores = Field(description="The speakers of the evaluated split.")
    inside_training: SpeakerScores | None = Field(
        None,
        description="Speakers of training or validation, each predicted by a model that was not "
        "trained on them.",
    )


class CurvePoint(Section):
    """A point of the learning curve."""

    speakers: Count = Field(description="Training speakers.")
    clips: Count = Field(description="Training clips.")
    scores: list[float] = Field(description="The main metric of each fold and draw.")
    mean: float = Field(description="Their mean.")


class LearningCurve(Section):
    """The main metric on the validation split of trainings with fewer speakers, or fewer clips."""

    metric: str = Field(description="The main metric.")
    speakers: list[CurvePoint] = Field(description="By number of speakers, with all their clips.")
    clips: list[CurvePoint] = Field(description="By share of the clips of each speaker.")
    verdict: str = Field(description="Whether more speakers or more clips would help.")


class HardClip(Section):
    """A clip whose label got a low probability."""

    id: str = Field(description="Id of the clip.")
    speaker: str | None = Field(None, description="Its speaker.")
    label: str = Field(description="True class, or the targets in words.")
    predicted: str = Field(description="Predicted class, or values.")
    probability: float | None = Field(
        None, description="Probability of the true class, mean over seeds, 0 to 1."
    )
    error: float | None = Field(
        None, description="Of dimensions: root mean squared error, share of the range."
    )
    path: str | None = Field(None, description="Audio file; null for audio that is in no file.")
    occlusion: Occlusion | None = Field(
        None, description="On which part the prediction depends; for the first clips."
    )


class ConditionScores(CleanScores):
    """Results under one condition."""

    name: str = Field(description="The condition in words.")
    kind: str = Field(
        description=(
            "Pink, white or recorded noise, reverberation or recorded room, telephone, codec, "
            "clipping, gain, duration or speed."
        )
    )
    severity: float = Field(description="In `unit`.")
    unit: str = Field(description="Unit of the severity.")
    description: str = Field("", description="What is done to a clip.")
    changed: Count | None = Field(None, description="Clips that it changed.")
    drop: float = Field(description="Loss of UAR, or of CCC.")
    drop_interval: Interval | None = Field(
        None, description="Interval of the loss, from paired resamples."
    )


class ConditionRecordings(Section):
    """Recordings of the user that conditions use. Equal fingerprints: the same recordings."""

    files: Count = Field(description="Recordings.")
    seconds: float = Field(description="Their duration together, s.")
    fingerprint: str = Field(
        description="Hash of their decoded samples, in the order of the paths of their files."
    )


class RobustnessSettings(Section):
    """How the conditions were evaluated."""

    seed: int = Field(0, description="Seed of the random numbers of all conditions.")
    of_clips: Count | None = Field(None, description="Available clips.")
    bootstrap: Count | None = Field(None, description="Resamples.")
    confidence: float = Field(description="Confidence level of the intervals, 0 to 1.")
    sampling_rate: Count | None = Field(None, description="Sampling rate of the clips, Hz.")
    libsndfile: str | None = Field(None, description="Version of libsndfile, which has the codecs.")
    noise_folder: ConditionRecordings | None = Field(
        None, description="The recordings of noise that the recorded noise is drawn from."
    )
    impulse_folder: ConditionRecordings | None = Field(
        None, description="The impulse responses of the recorded rooms."
    )


class Robustness(Section):
    """The same weights on degraded clips. Over folds and seeds the mean, without intervals."""

    clips: Count = Field(description="Clips evaluated under each condition.")
    chance: float = Field(
        description="UAR of guessing, 0 to 1; of dimensions the CCC of guessing, 0."
    )
    clean: CleanScores = Field(description="The unchanged clips.")
    conditions: list[ConditionScores] = Field(min_length=1, description="One entry per condition.")
    areas: dict[str, CleanScores] = Field(
        {},
        description=(
            "By kind: areas under the curves over its severities, divided by their range (mean "
            "scores)."
        ),
    )
    settings: RobustnessSettings = Field(description="How the conditions were evaluated.")


class EmbeddingMap(Section):
    """A map of the embeddings of the evaluated clips in two dimensions, `embeddings.parquet`.

    Over folds and seeds, which have embeddings of their own, there are only mean silhouettes.
    """

    method: MapMethod = Field(description="The projection.")
    missing: str | None = Field(None, description="Why there is no map.")
    clips: Count = Field(description="Clips on the map; over folds or seeds, the sum.")
    of_clips: Count = Field(
        description="Evaluated clips; of more than 2,000 the map has a random sample."
    )
    size: Count | None = Field(None, description="Size of an embedding.")
    emotions: float | None = Field(
        None,
        description=(
            "Mean silhouette coefficient of the labels, in all standardized dimensions of the "
            "embeddings, -1 to 1; null if undefined."
        ),
    )
    speakers: float | None = Field(
        None, description="The same of the speakers; null for a single speaker."
    )
    explained: Annotated[list[Share], Field(min_length=2, max_length=2)] | None = Field(
        None, description="For pca: share of the variance on each axis, 0 to 1."
    )
    settings: dict[str, float] = Field(
        {}, description="Parameters of the method: perplexity (tsne), neighbors (umap)."
    )
    seed: int = Field(0, description="Seed of the random numbers.")


class RiskPoint(Section):
    """A point of the risk-coverage curve."""

    coverage: Share = Field(description="Share of the clips that are predicted.")
    error: Share = Field(description="Share of wrong predictions among them.")
    threshold: float = Field(description="The probability that their predictions reach.")


class LabelThreshold(Section):
    """The probability above which a label is predicted, if a clip may have several labels."""

    value: Share = Field(description="The threshold, which the published model stores.")
    chosen_by: Literal["validation", "recipe"] = Field(
        description="The split whose macro-F1 chose it, or `evaluation.label_threshold`."
    )
    positives: Share = Field(
        description="Share of the evaluated decisions (clip and label) that are true."
    )
    predicted: Share = Field(description="Share of them that are predicted.")


class AcceptedClips(Section):
    """The clips whose predictions reach the threshold."""

    clips: Count = Field(description="All clips, predicted or not.")
    coverage: Share = Field(description="Share of the clips that are predicted.")
    error: Share | None = Field(
        description="Share of wrong predictions among them; null if none is predicted."
    )
    coverage_interval: Interval | None = Field(
        None, description="Interval of the coverage over speakers and their clips."
    )
    error_interval: Interval | None = Field(
        None, description="Interval of the error over speakers and their clips."
    )


class Abstention(Section):
    """Predictions that reach a probability, and clips that are left unknown.

    El-Yaniv and Wiener 2010; Geifman and El-Yaniv 2017 (arXiv:1705.08500).
    """

    stated_error: Share | None = Field(
        None,
        description="The error that the threshold is to keep; null for a model of another run.",
    )
    aurc: Share = Field(
        description="Area under the risk-coverage curve: the mean error over all coverages."
    )
    curve: list[RiskPoint] = Field(description="The curve of the evaluated split.")
    threshold: float | None = Field(
        None,
        description=(
            "The lowest probability that keeps the stated error on the validation split, which "
            "the published model stores; null if none does."
        ),
    )
    thresholds: dict[str, float | None] | None = Field(
        None, description="Over folds or seeds: the threshold of each, by number."
    )
    validation: AcceptedClips | None = Field(
        None, description="The validation split, which chose the threshold."
    )
    evaluated: AcceptedClips | None = Field(
        None, description="The evaluated split, with this threshold."
    )


class Adaptation(Section):
    """The same weights with an adaptation to each speaker, folder or recording, without labels.

    The embeddings of a group are moved to the statistics of the training speakers. A prediction
    depends on the other clips of its group, so that these figures are transductive: they compare
    with figures of the same kind only. Over folds and seeds the mean, without intervals.
    """

    grouping: Literal["speaker", "folder", "recording"] = Field(
        description="What the clips of a group share."
    )
    groups: Count = Field(description="Groups; over folds or seeds, the sum.")
    adapted_groups: Count = Field(
        description="Groups with enough clips for adaptation; the others are left alone."
    )
    clips: Count = Field(description="Clips of these groups.")
    metrics: Scores = Field(description="Of all clips, with adaptation.")
    intervals: Intervals = Field({}, description="Over speakers and their clips.")
    difference: float | None = Field(
        None, description="Main metric with adaptation, less that without."
    )
    difference_interval: Interval | None = Field(
        None, description="Interval of the difference, from paired resamples."
    )


class Pooled(Section):
    """Results of the predictions of all folds together."""

    metrics: Scores = Field(description="Of all predictions.")
    intervals: Intervals = Field({}, description="Over speakers and their clips.")
    clip_intervals: Intervals = Field({}, description="Over clips only.")


class OverallResults(Section):
    """Results that all tasks have."""

    clips: Count | None = Field(
        None, description="Evaluated clips. Several folds may evaluate the same clip."
    )
    speakers: Count | None = Field(None, description="Speakers of these clips.")
    metrics: Scores = Field(description="Of the evaluated split; over folds and seeds the mean.")
    intervals: Intervals = Field(
        {},
        description=(
            "Over speakers and their clips: hierarchical bootstrap; over folds and seeds of the "
            "mean. ECE has none, because resampling biases it upwards."
        ),
    )
    clip_intervals: Intervals = Field({}, description="Over clips only.")
    confidence: float = Field(0.95, description="Confidence level of all intervals, 0 to 1.")
    slices: dict[str, dict[str, Slice]] = Field(
        {},
        description=(
            "By column (speaker, sex, ...), then by value; ages in years, durations in seconds."
        ),
    )
    gaps: dict[str, Gap] | None = Field(
        None, description="By column: the best and the worst group."
    )
    hardest: list[HardClip] = Field(
        [], description="The 20 clips with the lowest probability of their label."
    )
    warnings: list[str] = Field([], description="Limits of the results, in sentences.")


class ClassResults(Section):
    """Results of a model that predicts classes."""

    per_class: dict[str, ClassScores] = Field({}, description="By label.")
    confusion: Counts = Field(
        [],
        description=(
            "Counts of clips: true classes in rows, predicted classes in columns, in the order "
            "of `labels`; summed over seeds and folds."
        ),
    )
    calibration: Calibration | None = Field(None, description="Calibration of the probabilities.")
    perceived: Perceived | None = Field(
        None, description="The same predictions against a second label."
    )
    corpora: dict[str, CorpusScores] = Field({}, description="By corpus, if there are several.")


class DimensionResults(Section):
    """Results of a model that predicts dimensions."""

    per_dimension: dict[str, DimensionScores] = Field({}, description="By dimension.")
    rated_clips: Count | None = Field(
        None, description="Of a model of both classes and dimensions: the evaluated rated clips."
    )


class Results(DimensionResults, ClassResults, OverallResults):
    """All numbers of one evaluated split. `ClassResults` are set, `DimensionResults`, or both."""

    pooled: Pooled | None = Field(None, description="The predictions of all folds together.")
