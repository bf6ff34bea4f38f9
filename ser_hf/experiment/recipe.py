"""The class of recipes, whose sections define the type, range, default and meaning of each key."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, SerializeAsAny

from ..audio.augmentation import Augmentation
from ..corpora import CORPORA, CorpusSettings, settings_class
from ..evaluation.tasks import EMOTIONS, TASKS
from ..protocols import PROTOCOLS, ProtocolSettings
from ..protocols.settings import SpeakerIndependentSettings
from ..training.settings import TrainingSettings
from ..utils.settings import FileName, OneOf, PathName, Settings
from ..utils.validation import validated
from ..utils.yaml import dump_yaml
from .model_settings import ModelSettings, architectures, model_settings
from .settings import AudioSettings, EvaluationSettings, FreezeSettings, HubSettings, LoraSettings

if TYPE_CHECKING:
    from ..models.preparation import Preparation

_CORPUS = OneOf("name", lambda: list(CORPORA), settings_class, noun="corpus")
_PROTOCOL = OneOf(
    "name",
    lambda: list(PROTOCOLS),
    lambda name: PROTOCOLS[name].settings,
    default="speaker_independent",
    noun="protocol",
)
_MODEL = OneOf("architecture", architectures, model_settings)


class Recipe(Settings):
    """The settings of one experiment, with every default.

    `provenance` (date and versions of a finished run) has no effect.
    """

    name: Annotated[FileName, Field(description="name of the run; the name of the file by default")]
    output_dir: Annotated[PathName, Field(description="folder of the run, `runs/NAME` by default")]
    corpus: Annotated[
        SerializeAsAny[CorpusSettings],
        _CORPUS,
        Field(description="the recordings and their classes"),
    ]
    model: Annotated[
        SerializeAsAny[ModelSettings], _MODEL, Field(description="the network and its options")
    ]
    task: Annotated[
        Literal[tuple(TASKS)],
        Field(description="what is predicted: classes, ratings of dimensions, or sets of classes"),
    ] = EMOTIONS.name
    protocol: Annotated[
        SerializeAsAny[ProtocolSettings],
        _PROTOCOL,
        Field(description="training, validation and test speakers"),
    ] = SpeakerIndependentSettings()
    audio: Annotated[AudioSettings, Field(description="preparation of waveforms")] = AudioSettings()
    augment: Annotated[Augmentation, Field(description="changes of training clips")] = (
        Augmentation()
    )
    freeze: Annotated[FreezeSettings, Field(description="parts that are not trained")] = (
        FreezeSettings()
    )
    lora: Annotated[LoraSettings, Field(description="low-rank adapters")] = LoraSettings()
    training: Annotated[TrainingSettings, Field(description="optimization")] = TrainingSettings()
    evaluation: Annotated[
        EvaluationSettings, Field(description="evaluation of the selected checkpoint")
    ] = EvaluationSettings()
    hub: Annotated[HubSettings, Field(description="publication on the Hub")] = HubSettings()
    provenance: Annotated[
        dict[str, Any] | None,
        Field(description="date and versions of a resolved recipe; without effect"),
    ] = None

    def __repr__(self) -> str:
        return (
            f"Recipe({self.name}: {self.model.architecture} on {self.corpus.name}, "
            f"{self.protocol.name})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Classes of sections that are created for a network or a corpus cannot be pickled by their
        # names, which processes of `--jobs` need.
        return _from_values, (self.to_dict(),)

    @property
    def preparation(self) -> "Preparation":
        """The preparation of clips that the recipe describes.

        `level: auto` becomes None here; the data decide later (`ser_hf.experiment.level`).

        Raises:
            ValueError: naming a setting of `audio` that is wrong.
            ImportError: for functionals without openSMILE.
        """
        # The import loads torch, which reading a recipe should not wait for.
        from ..models.preparation import Preparation

        audio = self.audio
        return Preparation(
            trim_silence=audio.trim_silence,
            level=None if audio.level == "auto" else audio.level,
            target_level=audio.target_level,
            fixed_duration=audio.fixed_duration,
            functionals=self.model.options.get("feature_set"),
        )

    def to_dict(self) -> dict[str, Any]:
        """The recipe as a mapping that `read_recipe` can read, with all defaults."""
        values = self.model_dump()
        if self.provenance is None:
            del values["provenance"]
        return _plain(values)

    def to_yaml(self) -> str:
        """The recipe as the text of a YAML file."""
        return dump_yaml(self.to_dict())


def _from_values(values: dict[str, Any]) -> Recipe:
    """The recipe with values that were checked before."""
    return validated(Recipe, values)


def _plain(value: Any) -> Any:
    """Convert tuples to lists, at any depth, for YAML."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
