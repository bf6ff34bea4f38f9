"""Loads a trained classifier from a run, a model folder, the Hub or an ONNX file."""

import dataclasses
import difflib
import hashlib
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
from ..loading.data_only import data_only
from ..loading.files import (
    CONFIGURATIONS,
    find_file,
    find_weights,
    first_line,
    model_commit,
    weights_hash,
)
from ..loading.heads import load_published_classifier
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
# Modules that only the pretraining of an encoder, or speech recognition with it, uses.
_PRETRAINING = (
    "quantizer.",
    "project_q.",
    "project_hid.",
    "lm_head.",
    "speaker_proj.",
    "final_proj.",
)
_MOST_BYTES = 2**22  # the largest size of a configuration file
# Files of a model of ser_hf with its window, its training speakers and its training recordings.
_OF_EVALUATION = ("recipe.yaml", "report.json", "training_clips.txt")


@dataclasses.dataclass(frozen=True)
class _LoadedModel:
    """A model and its extractor.

    `missing` are the names of tensors that are not in the model's files, and `unread` the names of
    tensors in its files that the network does not have.
    """

    model: PreTrainedModel
    extractor: SequenceFeatureExtractor
    missing: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def load_classifier(
    source: str | Path,
    *,
    revision: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    label_names: Sequence[str] | None = None,
) -> Classifier:
    """Load an audio classifier of Transformers, or an exported ONNX file.

    Args:
        source: a run folder, a model folder, a Hub id, or a file ``*.onnx``.
        revision: a branch, tag or commit of a model on the Hub.
        device: a torch device such as ``"cuda:1"`` (default: the GPU if there is one).
        trust_remote_code: run the code that models of other authors contain; ser_hf's models do not
            need it.
        label_names: the names of the outputs in their order, in place of those of the model, such
            as ``LABEL_0``.

    Raises:
        UserError: naming the source, if there is no model, the model cannot be read, its classifier
            was never trained, or its files have tensors without a place in the network.
    """
    source = str(source)
    if label_names is not None:
        _check_label_names(label_names)
    if source.endswith(".onnx"):
        classifier = load_onnx(source)
        _rename_outputs(source, classifier.model.config, label_names)
        return classifier

    location = find_model(source, revision)
    try:
        commit = extract_commit_hash(find_file(location, "config.json", revision), None)
        problem = check_configurations(location, revision)
        loaded = _load(location, source, commit or revision, trust_remote_code, label_names)
    except (torch.OutOfMemoryError, UserError):
        raise
    except Exception as error:  # a damaged folder, or code of other authors, may raise anything
        raise _unreadable_error(source, error) from None
    if problem is not None:
        logger.warning("%s: %s", source, problem)
    _check_complete(source, loaded)
    _rename_outputs(source, loaded.model.config, label_names)
    _check_labels(source, loaded.model.config.id2label)

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


def model_digest(source: str, revision: str | None = None) -> str:
    """A hash of everything in a model that its predictions and its evaluation depend on.

    It is that of the files of a folder or of an ONNX file; for a model on the Hub the commit.

    Raises:
        UserError: as `find_model`.
    """
    if source.endswith(".onnx"):
        if not Path(source).is_file():
            raise UserError(f"{source}: no such file")
        return weights_hash(source)
    location = find_model(source, revision)
    commit = model_commit(location, source, revision)
    if commit is not None:
        return commit
    digest = hashlib.sha256(weights_hash(location).encode())
    for name in (*CONFIGURATIONS, *_OF_EVALUATION):
        file = Path(location, name)
        if file.is_file():
            digest.update(f"\n{name}\n".encode() + file.read_bytes())
    return f"sha256:{digest.hexdigest()}"


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
    location: str,
    source: str,
    revision: str | None,
    trust_remote_code: bool,
    label_names: Sequence[str] | None,
) -> _LoadedModel:
    published = load_published_classifier(location, source, revision, label_names)
    if published is not None:
        model, extractor = published
        return _LoadedModel(model, extractor)
    if trust_remote_code:
        find_weights(location, source, revision).require_own_revision(source)
        options = {"trust_remote_code": True, "revision": revision}
        config = AutoConfig.from_pretrained(location, **options)
        loaded = _from_pretrained(location, config, options)
        # Which tensors it reads is the decision of the model's own code.
        return dataclasses.replace(loaded, unread=())
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
    unread = [key for key in info["unexpected_keys"] if not _is_of_pretraining(key)]
    return _LoadedModel(model, extractor, tuple(sorted(missing)), tuple(sorted(unread)))


def _is_of_pretraining(name: str) -> bool:
    """Whether a tensor belongs to the pretraining of the encoder, which no prediction uses."""
    return name.endswith(_TRAINING_ONLY) or name.startswith(_PRETRAINING)


def _check_label_names(label_names: Sequence[str]) -> None:
    """Refuse empty names, and names that are given twice."""
    for name in label_names:
        if not name.strip():
            raise UserError("--label-names: a name is empty; separate the names by commas")
        if label_names.count(name) > 1:
            raise UserError(f"--label-names: {name!r} occurs twice; give each output another name")


def _rename_outputs(source: str, config: Any, label_names: Sequence[str] | None) -> None:
    """Name the outputs of a model, in place."""
    if label_names is None:
        return
    if len(label_names) != config.num_labels:
        raise UserError(
            f"--label-names: {len(label_names)} names, but {source} has {config.num_labels} outputs"
        )
    config.id2label = dict(enumerate(label_names))
    config.label2id = {name: i for i, name in enumerate(label_names)}


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


def _check_complete(source: str, loaded: _LoadedModel) -> None:
    """Refuse a model with random weights, or with tensors that the network does not have."""
    network = " or ".join(loaded.model.config.architectures or ["model"])
    if loaded.missing and loaded.unread:
        raise UserError(
            f"{source}: a {network} whose classifier has an unknown form: its files have "
            f"{loaded.unread[0]}, and not {loaded.missing[0]} (docs/prediction.md has the known "
            "forms); fine-tune it first (ser-hf train)"
        )
    if loaded.missing:
        raise UserError(
            f"{source}: a {network} without a trained classifier, {len(loaded.missing)} tensors "
            f"are missing ({loaded.missing[0]}); fine-tune it first (ser-hf train)"
        )
    if loaded.unread:
        raise UserError(
            f"{source}: a {network} whose files have {len(loaded.unread)} tensors without a place "
            f"in the network, such as {loaded.unread[0]}; without them its predictions may differ "
            "from those of its authors"
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
