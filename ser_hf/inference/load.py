"""Loads a trained classifier from a run, a model folder, the Hub or an ONNX file."""

import dataclasses
import difflib
import logging
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    PreTrainedConfig,
    PreTrainedModel,
    SequenceFeatureExtractor,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING
from transformers.utils.hub import extract_commit_hash

from ..audio.decode import SHORTEST
from ..evaluation.tasks import DIMENSIONS
from ..loading.data_only import data_only
from ..loading.files import CONFIGURATIONS, find_file, find_weights, first_line, weights_hash
from ..loading.heads import load_dimensional_model
from ..models.preparation import Preparation, PreparedFeatureExtractor
from ..utils.environment import quiet_libraries
from ..utils.errors import UserError
from ..utils.files import read_json
from ..utils.run_folder import RunFolder
from ..utils.yaml import read_yaml
from .classifier import Classifier
from .model_settings import check_settings, contradiction
from .onnx_classifier import load_onnx

logger = logging.getLogger(__name__)

# SpecAugment replaces frames by this vector in training; no prediction depends on it.
_TRAINING_ONLY = "masked_spec_embed"
_MOST_BYTES = 2**22  # the largest size of a configuration file


@dataclasses.dataclass(frozen=True)
class _LoadedModel:
    """A model, its extractor, and the names of tensors that are missing in its files."""

    model: PreTrainedModel
    extractor: SequenceFeatureExtractor
    missing: tuple[str, ...] = ()


def load_classifier(
    source: str | Path,
    *,
    revision: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    untrained: bool = False,
) -> Classifier:
    """Load an audio classifier of Transformers, or an exported ONNX file.

    Args:
        source: a run folder, a model folder, a Hub id, or a file ``*.onnx``.
        revision: a branch, tag or commit of a model on the Hub.
        device: a torch device such as ``"cuda:1"`` (default: the GPU if there is one).
        trust_remote_code: run the code that models of other authors contain; ser_hf's models do not
            need it.
        untrained: accept a model whose classifier was never trained.

    Raises:
        UserError: naming the source, if there is no model, the model cannot be read, or its
            classifier was never trained.
    """
    source = str(source)
    if source.endswith(".onnx"):
        return load_onnx(source)

    location = find_model(source, revision)
    try:
        commit = extract_commit_hash(find_file(location, "config.json", revision), None)
        problem = check_configurations(location, revision)
        loaded = _load(location, source, commit or revision, trust_remote_code)
    except (torch.OutOfMemoryError, UserError):
        raise
    except Exception as error:  # a damaged folder, or code of other authors, may raise anything
        raise _unreadable_error(source, error) from None
    if problem is not None:
        logger.warning("%s: %s", source, problem)
    _check_labels(source, loaded.model.config.id2label)
    _check_trained(source, loaded, untrained)

    extractor, preparation = _without_preparation(loaded.extractor)
    return Classifier(
        source=source,
        model=_on_device(loaded.model, device).eval(),
        extractor=extractor,
        preparation=preparation,
        revision=commit or weights_hash(location),
        evaluation_window=_evaluation_window(location, commit or revision),
        location=location,
        commit=commit,
        untrained=loaded.missing,
    )


def _without_preparation(
    extractor: SequenceFeatureExtractor,
) -> tuple[SequenceFeatureExtractor, Preparation]:
    """Divide an extractor: a feature extractor for prepared waveforms, and the preparation."""
    if isinstance(extractor, PreparedFeatureExtractor):
        return extractor.stock(), extractor.preparation
    return extractor, Preparation()


def find_model(source: str, revision: str | None) -> str:
    """Return the folder that holds the model; a Hub id is returned unchanged.

    Raises:
        UserError: for a folder without a model, a checkpoint, a file, or a revision of a folder.
    """
    folder = Path(source)
    if folder.is_file():
        raise UserError(f"{source}: a file; name a run's folder, a model folder or a Hub id")
    if not folder.is_dir():
        _refuse_misspelt_run(source)
        return source
    if revision is not None:
        raise UserError(f"--revision: {source} is a folder, which has no revisions; leave it out")

    run = RunFolder(folder)
    parent = folder.resolve().parent
    if parent.name == run.checkpoints.name and RunFolder(parent.parent).recipe.is_file():
        raise UserError(f"{source}: a training checkpoint; name its run {parent.parent} instead")
    for candidate in (folder, run.model):
        if (candidate / "config.json").is_file():
            return str(candidate)
    if run.recipe.is_file():
        raise UserError(f"{source}: this run has no model yet; finish it with --resume")
    raise UserError(
        f"{source}: holds neither a model (config.json) nor a run; name a run's or a model's folder"
    )


def _refuse_misspelt_run(source: str) -> None:
    """Refuse a path beside run folders; USER/NAME of the Hub looks like a path too."""
    if "/" not in source:
        return
    folder = Path(source)
    runs = [recipe.parent.name for recipe in folder.parent.glob("*/recipe.yaml")]
    nearest = difflib.get_close_matches(folder.name, runs, n=1, cutoff=0.0)
    if nearest:
        raise UserError(f"{source}: no such run; the nearest is {folder.parent / nearest[0]}")


def check_configurations(location: str, revision: str | None = None) -> str | None:
    """Check that the configuration files of a model have the fields of `ModelSettings`.

    Returns how the labels contradict each other, in one sentence; None if they do not.

    Args:
        location: a folder or a Hub id.
        revision: a branch, tag or commit of a model on the Hub.

    Raises:
        UserError: naming the file whose values are wrong.
    """
    problem = None
    for name in CONFIGURATIONS:
        path = find_file(location, name, revision, required=False)
        if path:
            settings = check_settings(read_json(path, most=_MOST_BYTES), path)
            problem = problem or contradiction(settings)
    return problem


def _load(
    location: str, source: str, revision: str | None, trust_remote_code: bool
) -> _LoadedModel:
    dimensional = load_dimensional_model(location, source, revision)
    if dimensional is not None:
        model, extractor = dimensional
        return _LoadedModel(model, extractor)
    if trust_remote_code:
        find_weights(location, source, revision).require_own_revision(source)
        options = {"trust_remote_code": True, "revision": revision}
        config = AutoConfig.from_pretrained(location, **options)
        return _from_pretrained(location, config, options)
    with data_only(location, where=source, revision=revision) as copy:
        options = {"trust_remote_code": False}
        config = AutoConfig.from_pretrained(copy.folder, **options)
        if type(config) not in MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING:
            raise UserError(
                f"{source}: a {config.model_type}, of which transformers has no audio classifier"
            )
        return _from_pretrained(copy.folder, config, options)


def _from_pretrained(
    folder: str, config: PreTrainedConfig, options: dict[str, str | bool | None]
) -> _LoadedModel:
    """Load a model with the Auto classes of transformers and these options."""
    extractor = AutoFeatureExtractor.from_pretrained(folder, **options)
    with quiet_libraries():
        model, info = AutoModelForAudioClassification.from_pretrained(
            folder,
            output_loading_info=True,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            **options,
        )
    missing = [key for key in info["missing_keys"] if not key.endswith(_TRAINING_ONLY)]
    return _LoadedModel(model, extractor, tuple(sorted(missing)))


def _check_labels(source: str, names: Mapping[int, str]) -> None:
    for name in names.values():
        if not name.isprintable():
            raise UserError(
                f"{source}: the label {name!r} is not printable; rename it "
                "(id2label in config.json)"
            )
    for name, count in Counter(names.values()).items():
        if count > 1:
            raise UserError(
                f"{source}: several labels are called {name!r}; rename them "
                "(id2label in its config.json)"
            )


def _check_trained(source: str, loaded: _LoadedModel, untrained: bool) -> None:
    """Refuse a model with random weights, unless `untrained` allows it.

    A model that predicts dimensions, such as arousal, is always refused with random weights.
    """
    if not loaded.missing:
        return
    config = loaded.model.config
    if untrained and config.problem_type != DIMENSIONS.problem_type:
        return
    network = " or ".join(config.architectures or ["model"])
    raise UserError(
        f"{source}: a {network} without a trained classifier, {len(loaded.missing)} tensors are "
        f"missing ({loaded.missing[0]}); fine-tune it first (ser-hf train)"
    )


def _unreadable_error(source: str, error: Exception) -> UserError:
    if "ignore_mismatched_sizes" in str(error):
        return UserError(
            f"{source}: its weights do not fit its config.json; restore the one that they were "
            "saved with (as many labels in id2label as the classifier has outputs)"
        )
    return UserError(f"{source}: {first_line(error)}")


def _on_device(model: PreTrainedModel, device: str | None) -> PreTrainedModel:
    """Move the model to the device; by default to the GPU if there is one."""
    if device is None:
        device = "cpu"
        if torch.accelerator.is_available():
            device = torch.accelerator.current_accelerator().type
    try:
        return model.to(torch.device(device))
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:
        # torch raises other errors too, for example if it was built without this device.
        raise UserError(f"--device: {device} cannot be used here: {first_line(error)}") from None


def _evaluation_window(location: str, revision: str | None) -> float | None:
    """Read `evaluation.window` in the recipe that ser_hf publishes with its models."""
    path = find_file(location, "recipe.yaml", revision, required=False)
    if path is None:
        return None
    try:
        evaluation = read_yaml(path).get("evaluation")
    except UserError:  # recipe files of other projects have other keys
        return None
    window = evaluation.get("window") if isinstance(evaluation, dict) else None
    if isinstance(window, int | float) and SHORTEST <= window < math.inf:
        return float(window)
    return None
