"""Loads a trained classifier of a run, a folder or the Hub, with what is needed to run it as in its evaluation."""

import contextlib
import dataclasses
import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    PreTrainedModel,
    SequenceFeatureExtractor,
    Wav2Vec2FeatureExtractor,
)
from transformers.utils import cached_file
from transformers.utils.hub import extract_commit_hash

from ..audio.decode import SHORTEST
from ..models.modeling_base import AcousticClassifier
from ..models.preparation import Preparation, PreparedFeatureExtractor
from ..training.encoders import ENCODERS, encoder_config, longest_clip, mask_valid
from ..training.loading import first_line
from ..utils.environment import quiet_libraries
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from ..utils.yaml import read_yaml

_TRAINING_ONLY = "masked_spec_embed"  # SpecAugment puts it in place of frames; no prediction depends on it


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A model in evaluation mode, in float32, on its device, with the extractor that it was published with.

    Args:
        source: as the user named it.
        extractor: without the preparation of waveforms, which is `preparation`.
        revision: the commit of a model on the Hub, ``sha256:...`` of the weights in a folder.
        evaluation_window: seconds of its recipe's `evaluation.window`.
        place: the folder that it was read from, or its Hub id; `commit` is that of the Hub.
        untrained: tensors that are missing in its files and therefore random.
    """

    source: str
    model: PreTrainedModel
    extractor: SequenceFeatureExtractor
    preparation: Preparation
    revision: str | None
    evaluation_window: float | None
    place: str = ""
    commit: str | None = None
    untrained: tuple[str, ...] = ()

    @property
    def labels(self) -> list[str]:
        names = self.model.config.id2label
        return [names[i] for i in range(self.model.config.num_labels)]

    @property
    def multi_label(self) -> bool:
        """Whether each label has its own probability (a sigmoid), as `pipeline` decides."""
        return self.model.config.problem_type == "multi_label_classification"

    @property
    def encoder(self) -> bool:
        """Whether it contains a speech encoder of Transformers, with any head."""
        return encoder_config(self.model.config).model_type in ENCODERS

    @property
    def padding_safe(self) -> bool:
        """Whether padding leaves predictions unchanged; False for unknown networks, and for extractors without an
        attention mask, which `pipeline` uses as they are."""
        if isinstance(self.extractor, Wav2Vec2FeatureExtractor) and not self.extractor.return_attention_mask:
            return False
        if self.encoder:
            return mask_valid(self.model.config)
        return isinstance(self.model, AcousticClassifier)

    def window(self, seconds: float | None = None) -> int | None:
        """Samples of the longest window; None for no limit.

        Args:
            seconds: None takes the recipe's `evaluation.window`.
        """
        seconds = self.evaluation_window if seconds is None else seconds
        longest = longest_clip(self.model.config, self.extractor) if self.encoder else None
        limits = (seconds and round(seconds * self.extractor.sampling_rate), longest)
        return min((samples for samples in limits if samples), default=None)


def load_classifier(
    source: str | Path,
    *,
    revision: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    untrained: bool = False,
) -> Classifier:
    """Loads any audio classifier of Transformers from a run's folder, a model folder or the Hub, or an ONNX file of
    `ser-hf export`.

    Args:
        revision: of a model on the Hub: a branch, tag or commit.
        device: such as ``"cuda:1"`` (default: the GPU if there is one).
        trust_remote_code: run code of other authors' models; those of ser_hf need none.
        untrained: accept a model whose classifier was never trained.

    Raises:
        UserError: naming the source, if there is no model, it cannot be read, or its classifier was never trained.
    """
    source = str(source)
    if source.endswith(".onnx"):
        # Imported late: it builds on this module.
        from .onnx_session import load_onnx

        return load_onnx(source)
    place = _place(source, revision)
    trust = {"trust_remote_code": trust_remote_code}
    try:
        # All files of one commit, whatever is pushed meanwhile.
        commit = extract_commit_hash(cached_file(place, "config.json", revision=revision), None)
        pinned = commit or revision
        config = AutoConfig.from_pretrained(place, revision=pinned, **trust)
        _check_labels(source, config.id2label)
        extractor = AutoFeatureExtractor.from_pretrained(place, revision=pinned, **trust)
        with quiet_libraries():
            model, info = AutoModelForAudioClassification.from_pretrained(
                place, revision=pinned, config=config, dtype=torch.float32, output_loading_info=True, **trust
            )
    except (torch.OutOfMemoryError, UserError):
        raise
    except Exception as error:  # a damaged folder, or code of other authors, may raise anything
        raise _unreadable(source, error) from None
    missing = sorted(key for key in info["missing_keys"] if not key.endswith(_TRAINING_ONLY))
    if missing and not untrained:
        raise UserError(
            f"{source}: has no trained classifier, {len(missing)} tensors are missing ({missing[0]}); fine-tune it "
            "first (ser-hf train)"
        )
    if config.problem_type == "regression":
        raise UserError(f"{source}: predicts numbers, not labels (problem_type: regression); use a classifier")
    preparation = Preparation()
    if isinstance(extractor, PreparedFeatureExtractor):
        preparation, extractor = extractor.preparation, extractor.stock()
    known = (_revision(place, commit), _evaluation_window(place, pinned), place, commit, tuple(missing))
    return Classifier(source, _on_device(model, device).eval(), extractor, preparation, *known)


def _place(source: str, revision: str | None) -> str:
    """The folder that holds the model, or a Hub id as it is."""
    folder = Path(source)
    if folder.is_file():
        raise UserError(f"{source}: a file; name a run's folder, a model folder or a Hub id")
    if not folder.is_dir():
        return source
    if revision is not None:
        raise UserError(f"--revision: {source} is a folder, which has no revisions; leave it out")
    run = RunFolder(folder)
    above = folder.resolve().parent
    if above.name == run.checkpoints.name and RunFolder(above.parent).recipe.is_file():
        raise UserError(f"{source}: a checkpoint, to continue training with --resume; name its run {above.parent}")
    for place in (folder, run.model):
        if (place / "config.json").is_file():
            return str(place)
    if run.recipe.is_file():
        raise UserError(f"{source}: the run in it has no model yet; finish it with --resume")
    raise UserError(f"{source}: holds neither a model (config.json) nor a run; name a run's or a model's folder")


def _check_labels(source: str, names: Mapping[int, str]) -> None:
    """Refuses labels that occur twice or are not numbered from 0."""
    if set(names) != set(range(len(names))):
        raise UserError(
            f"{source}: its labels have the numbers {', '.join(map(str, names))}, not 0 to {len(names) - 1}; correct "
            "id2label in its config.json"
        )
    doubled = next((name for name, count in Counter(names.values()).items() if count > 1), None)
    if doubled is not None:
        raise UserError(
            f"{source}: several of its labels are called {doubled!r}; rename them (id2label in its config.json)"
        )


def _unreadable(source: str, error: Exception) -> UserError:
    if "trust_remote_code" in str(error):
        return UserError(f"{source}: contains code; --trust-remote-code runs it, if you trust its author")
    if "ignore_mismatched_sizes" in str(error):
        return UserError(
            f"{source}: its weights do not fit its config.json; restore the one that they were saved with (as "
            "many labels in id2label as the classifier has outputs)"
        )
    known = "" if Path(source).is_dir() else "no such folder here, and as a model on the Hub: "
    return UserError(f"{source}: {known}{first_line(error)}")


def _on_device(model: PreTrainedModel, device: str | None) -> PreTrainedModel:
    if device is None:
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        device = "cpu" if found is None else found.type
    try:
        return model.to(torch.device(device))
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:  # also of a torch built without it
        raise UserError(f"--device: {device} cannot be used here: {first_line(error)}") from None


def _evaluation_window(place: str, revision: str | None) -> float | None:
    """`evaluation.window` of the recipe that a model of ours is published with."""
    path = published_file(place, "recipe.yaml", revision)
    if path is None:
        return None
    evaluation = None
    with contextlib.suppress(UserError):  # other projects' recipes have other grammars
        evaluation = read_yaml(path).get("evaluation")
    window = evaluation.get("window") if isinstance(evaluation, dict) else None
    return float(window) if isinstance(window, int | float) and SHORTEST <= window < math.inf else None


def published_file(place: str, name: str, revision: str | None) -> str | None:
    """The path of a file beside a model's weights; None if there is none, or no network."""
    return cached_file(
        place,
        name,
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )


def _revision(place: str, commit: str | None) -> str | None:
    folder = Path(place)
    if not folder.is_dir():
        return commit
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]):
        with path.open("rb") as file:
            while block := file.read(2**24):
                digest.update(block)
    return f"sha256:{digest.hexdigest()}"
