"""Loads a trained classifier from a run, a model folder, the Hub or an ONNX file, with its
preparation and windows.
"""

import contextlib
import dataclasses
import difflib
import importlib.util
import json
import math
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    PreTrainedConfig,
    PreTrainedModel,
    SequenceFeatureExtractor,
    Wav2Vec2FeatureExtractor,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING
from transformers.utils.hub import extract_commit_hash

from ..audio.decode import SHORTEST
from ..evaluation.tasks import DIMENSIONS, EMOTIONS, Task
from ..loading.data_only import data_only
from ..loading.encoders import ENCODERS, encoder_config, longest_clip, mask_valid
from ..loading.files import CONFIGURATIONS, find_file, first_line, weight_files, weights_hash
from ..loading.heads import load_dimensional_model
from ..models.configuration import RANGES_KEY
from ..models.modeling_base import AcousticClassifier
from ..models.preparation import Preparation, PreparedFeatureExtractor
from ..utils.environment import quiet_libraries
from ..utils.errors import UserError
from ..utils.files import read_json
from ..utils.run_folder import RunFolder
from ..utils.yaml import read_yaml
from .inputs import check_settings

# SpecAugment puts it in place of frames; no prediction depends on it
_TRAINING_ONLY = "masked_spec_embed"


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A model in evaluation mode, in float32, on its device, with the extractor that it was
    published with.

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
    def problem_type(self) -> str | None:
        """What its logits are, as `pipeline` decides, see `ser_hf.evaluation.probabilities.activated`."""
        return self.model.config.problem_type

    @property
    def task(self) -> Task:
        return DIMENSIONS if self.problem_type == DIMENSIONS.problem_type else EMOTIONS

    @property
    def ranges(self) -> dict[str, list[float]]:
        """The ratings that 0 and 1 of each dimension stand for; empty for classes."""
        if self.task is not DIMENSIONS:
            return {}
        known = getattr(self.model.config, RANGES_KEY, None) or {}
        return {name: list(known.get(name, (0.0, 1.0))) for name in self.labels}

    @property
    def encoder(self) -> bool:
        """Whether it contains a speech encoder of Transformers, with any head."""
        return encoder_config(self.model.config).model_type in ENCODERS

    @property
    def padding_safe(self) -> bool:
        """Whether padding leaves predictions unchanged; False for unknown networks, and for
        extractors without an attention mask, which `pipeline` uses as they are."""
        if (
            isinstance(self.extractor, Wav2Vec2FeatureExtractor)
            and not self.extractor.return_attention_mask
        ):
            return False
        if self.encoder:
            return mask_valid(self.model.config)
        return isinstance(self.model, AcousticClassifier)

    def window(self, seconds: float | None = None, prepared: bool = True) -> int | None:
        """Samples of the longest window, of the recipe's `evaluation.window` without `seconds`;
        None for no limit. Windows of recordings, not `prepared`, are also possible for functionals.
        """
        if seconds and prepared and self.preparation.functionals:
            raise UserError(
                f"--window: {self.source} takes functionals of whole clips; use ser-hf predict --timeline"
            )
        seconds = self.evaluation_window if seconds is None else seconds
        longest = longest_clip(self.model.config, self.extractor) if self.encoder else None
        limits = (seconds and round(seconds * self.extractor.sampling_rate), longest)
        return min((samples for samples in limits if samples), default=None)


class OnnxConfig(PreTrainedConfig):
    """Labels of the file and whether it is a multi-label classifier."""

    model_type = "onnx"


class OnnxSession(nn.Module):
    """An exported file, called like a model of transformers; `facts` is its metadata."""

    def __init__(self, path: str | os.PathLike):
        super().__init__()
        if importlib.util.find_spec("onnxruntime") is None:
            raise UserError(f'{path}: an ONNX file needs onnxruntime: pip install "ser_hf[onnx]"')
        import onnxruntime

        if not Path(path).is_file():
            raise UserError(f"{path}: no such file")
        options = onnxruntime.SessionOptions()
        # ONNX Runtime does not read this variable; 0 is its own default.
        threads = os.environ.get("OMP_NUM_THREADS", "")
        options.intra_op_num_threads = int(threads) if threads.isdecimal() else 0
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exception classes are not public
            raise UserError(
                f"{path}: not an ONNX file that onnxruntime can run: {first_line(error)}"
            ) from None
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.facts = {key: _decoded(text) for key, text in metadata.items()}
        if not {"id2label", "sampling_rate"} <= set(self.facts):
            raise UserError(
                f"{path}: not written by ser-hf export; export the model with ser-hf export"
            )
        check_settings(self.facts, str(path))
        self.device = torch.device("cpu")
        names = {int(number): name for number, name in self.facts["id2label"].items()}
        problem = (
            "multi_label_classification"
            if self.facts.get("multi_label")
            else self.facts.get("problem_type")
        )
        self.config = OnnxConfig(
            id2label=names, problem_type=problem, **{RANGES_KEY: self.facts.get(RANGES_KEY)}
        )

    def forward(self, input_values: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        """Logits, float32 (batch, labels), of waveforms, float32 (batch, samples), under their
        mask.
        """
        if "quantized" in self.facts and len(input_values) > 1:
            # int8 activations share one range per batch: a clip's logits would depend on the other
            # clips.
            clips = zip(input_values, attention_mask, strict=True)
            logits = [
                self._run(clip[None, : mask.sum()], mask[None, : mask.sum()])
                for clip, mask in clips
            ]
            return SimpleNamespace(logits=torch.cat(logits))
        return SimpleNamespace(logits=self._run(input_values, attention_mask))

    def _run(self, input_values: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        inputs = {
            "input_values": input_values.numpy(),
            "attention_mask": attention_mask.long().numpy(),
        }
        inputs = {name: np.ascontiguousarray(values) for name, values in inputs.items()}
        return torch.from_numpy(self.session.run(["logits"], inputs)[0])


class OnnxClassifier(Classifier):
    """A classifier in an exported file, which contains its preparation and feature extractor as
    well.
    """

    @property
    def padding_safe(self) -> bool:
        return bool(self.model.facts.get("padding_safe"))

    @property
    def encoder(self) -> bool:
        return False


def load_classifier(
    source: str | Path,
    *,
    revision: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    untrained: bool = False,
) -> Classifier:
    """Load an audio classifier of Transformers (run folder, model folder or Hub id), or an exported
    ONNX file.

    Args:
        revision: of a model on the Hub: a branch, tag or commit.
        device: such as ``"cuda:1"`` (default: the GPU if there is one).
        trust_remote_code: run code of other authors' models; those of ser_hf need none.
        untrained: accept a model whose classifier was never trained.

    Raises:
        UserError: naming the source, if there is no model, it cannot be read, or its classifier was
            never trained.
    """
    source = str(source)
    if source.endswith(".onnx"):
        return load_onnx(source)
    place = find_model(source, revision)
    try:
        commit = extract_commit_hash(find_file(place, "config.json", revision), None)
        check_configurations(place, revision)
        if own := load_dimensional_model(place, source, commit or revision):
            model, extractor, missing = *own, []
        else:
            model, extractor, missing = _load_stock(
                place, source, commit or revision, trust_remote_code
            )
    except (torch.OutOfMemoryError, UserError):
        raise
    except Exception as error:  # a damaged folder, or code of other authors, may raise anything
        raise _unreadable(source, error) from None
    _check_labels(source, model.config.id2label)
    if missing and (not untrained or model.config.problem_type == DIMENSIONS.problem_type):
        raise UserError(
            f"{source}: a {' or '.join(model.config.architectures or ['model'])} without a trained classifier, "
            f"{len(missing)} tensors are missing ({missing[0]}); fine-tune it first (ser-hf train)"
        )
    preparation = Preparation()
    if isinstance(extractor, PreparedFeatureExtractor):
        preparation = extractor.preparation
        extractor = extractor.stock()
    window = _evaluation_window(place, commit or revision)
    known = commit or weights_hash(place), window, place, commit, tuple(missing)
    return Classifier(source, _on_device(model, device).eval(), extractor, preparation, *known)


def _load_stock(
    place: str, source: str, revision: str | None, trust_remote_code: bool
) -> tuple[PreTrainedModel, SequenceFeatureExtractor, list[str]]:
    """A classifier that transformers loads, its extractor, and the names of tensors that its files
    lack.
    """
    with contextlib.ExitStack() as stack:
        folder = place
        trust = {"trust_remote_code": trust_remote_code}
        if trust_remote_code:
            trust["revision"] = revision
            weight_files(place, source, revision)
        else:
            copy = data_only(place, where=source, revision=revision)
            folder = stack.enter_context(copy).folder
        config = AutoConfig.from_pretrained(folder, **trust)
        if not trust_remote_code and type(config) not in MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING:
            raise UserError(
                f"{source}: a {config.model_type}, of which transformers has no audio classifier"
            )
        extractor = AutoFeatureExtractor.from_pretrained(folder, **trust)
        settings = {"config": config, "dtype": torch.float32, "use_safetensors": True, **trust}
        with quiet_libraries():
            model, info = AutoModelForAudioClassification.from_pretrained(
                folder, output_loading_info=True, **settings
            )
    return (
        model,
        extractor,
        sorted(key for key in info["missing_keys"] if not key.endswith(_TRAINING_ONLY)),
    )


def check_configurations(place: str, revision: str | None = None) -> None:
    """Refuse a model, a folder or Hub id, whose configurations are not `ModelSettings`."""
    for name in CONFIGURATIONS:
        if path := find_file(place, name, revision, required=False):
            check_settings(read_json(path, most=2**22), path)


def find_model(source: str, revision: str | None) -> str:
    """The folder that holds the model, or a Hub id as it is.

    Raises:
        UserError: for a folder without a model, a checkpoint, a file, or a revision of a folder.
    """
    folder = Path(source)
    if folder.is_file():
        raise UserError(f"{source}: a file; name a run's folder, a model folder or a Hub id")
    if not folder.is_dir():
        runs = [path.parent.name for path in folder.parent.glob("*/recipe.yaml") if "/" in source]
        for nearest in difflib.get_close_matches(folder.name, runs, n=1, cutoff=0.0):
            raise UserError(f"{source}: no such run; the nearest is {folder.parent / nearest}")
        return source
    if revision is not None:
        raise UserError(f"--revision: {source} is a folder, which has no revisions; leave it out")
    run = RunFolder(folder)
    above = folder.resolve().parent
    if above.name == run.checkpoints.name and RunFolder(above.parent).recipe.is_file():
        raise UserError(f"{source}: a training checkpoint; name its run {above.parent} instead")
    for place in (folder, run.model):
        if (place / "config.json").is_file():
            return str(place)
    if run.recipe.is_file():
        raise UserError(f"{source}: this run has no model yet; finish it with --resume")
    raise UserError(
        f"{source}: holds neither a model (config.json) nor a run; name a run's or a model's folder"
    )


def _check_labels(source: str, names: Mapping[int, str]) -> None:
    if odd := [name for name in names.values() if not name.isprintable()]:
        raise UserError(
            f"{source}: the label {odd[0]!r} is not printable; rename it (id2label in config.json)"
        )
    doubled = next((name for name, count in Counter(names.values()).items() if count > 1), None)
    if doubled is not None:
        raise UserError(
            f"{source}: several labels are called {doubled!r}; rename them (id2label in its config.json)"
        )


def _unreadable(source: str, error: Exception) -> UserError:
    if "ignore_mismatched_sizes" in str(error):
        return UserError(
            f"{source}: its weights do not fit its config.json; restore the one that they were saved with (as "
            "many labels in id2label as the classifier has outputs)"
        )
    return UserError(f"{source}: {first_line(error)}")


def _on_device(model: PreTrainedModel, device: str | None) -> PreTrainedModel:
    if device is None:
        found = (
            torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        )
        device = "cpu" if found is None else found.type
    try:
        return model.to(torch.device(device))
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:
        # also of a torch built without it
        raise UserError(f"--device: {device} cannot be used here: {first_line(error)}") from None


def _evaluation_window(place: str, revision: str | None) -> float | None:
    """`evaluation.window` of the recipe that a model of ours is published with."""
    path = find_file(place, "recipe.yaml", revision, required=False)
    evaluation = None
    with contextlib.suppress(UserError):  # other projects' recipes have other grammars
        evaluation = read_yaml(path).get("evaluation") if path else None
    window = evaluation.get("window") if isinstance(evaluation, dict) else None
    return (
        float(window) if isinstance(window, int | float) and SHORTEST <= window < math.inf else None
    )


def load_onnx(path: str | os.PathLike) -> OnnxClassifier:
    """The classifier in a file that `ser_hf.export` wrote. Raises a `UserError` if it is no such
    file.
    """
    session = OnnxSession(path)
    rate = session.facts["sampling_rate"]
    facts = session.facts
    extractor = Wav2Vec2FeatureExtractor(
        sampling_rate=rate, do_normalize=False, return_attention_mask=True
    )
    known = facts.get("revision"), facts.get("window_seconds"), str(Path(path).parent)
    return OnnxClassifier(os.fspath(path), session.eval(), extractor, Preparation(), *known)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # a plain string
        return text
