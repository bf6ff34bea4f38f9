"""`freeze.cache`: computes the output of a frozen encoder or front end once and trains on it.

During training `CachedActivations` replace the frozen modules, and batches carry the activations of
their clips. Checkpoints hold only the remaining modules. Afterwards the model is complete again and
evaluated on waveforms.
"""

import dataclasses
import hashlib
import inspect
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers
import xxhash
from datasets import Dataset
from torch import nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import PreTrainedConfig, PreTrainedModel, Trainer
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..audio import WaveformStore
from ..loading.batches import batches, labels_of
from ..loading.encoders import encoder_config, has_fixed_length
from ..models.configuration import AcousticConfig
from ..models.front_end import LogMel, Mfcc
from ..models.modeling_base import AcousticClassifier
from ..models.modeling_transfer import CNN14Encoder, TransferClassifier
from ..utils.cache import MappedFile, built_once, cache_root, format_size, key_of
from ..utils.errors import UserError
from .arguments import EmotionTrainingArguments
from .checkpoints import shards
from .collator import Collator
from .freezing import Freezing, freeze, structure

logger = logging.getLogger(__name__)

# A segment of a clip: row of the corpus, first sample, samples.
Segment = tuple[int, int, int]
# Keys of a batch besides inputs, mask and labels: stored activations (batch, states, frames, size)
# and the number of frames of each clip (batch,).
STATES = "cached_states"
FRAMES = "cached_frames"

_FORMAT = 5
_DTYPE = np.dtype(np.float16)
# The content of a larger store is not read to verify it.
_VERIFIED_BYTES = 4e9
_FRAME_MASK = "_get_feature_vector_attention_mask"
# Front ends do this at random during training.
_RANDOM = ("band_warp", "time_stretch", "mix_style", "time_masks", "band_masks")
# Words in the names of settings without effect in evaluation mode, or below a head.
_IRRELEVANT = (
    "drop",
    "mask_",
    "spec_augment",
    "label",
    "classifier",
    "weighted",
    "warp",
    "name_or_path",
)
# Settings of our front ends that decide what is computed of a waveform before anything random.
_OF_FEATURES = {field.name for field in dataclasses.fields(AcousticConfig)}
_OF_FEATURES -= {field.name for field in dataclasses.fields(PreTrainedConfig)}
_OF_FEATURES -= {
    "deltas",
    "normalization",
    "frames",
    "frame_fit",
    "n_mfcc",
    "time_width",
    "band_width",
    *_RANDOM,
}


@dataclasses.dataclass(frozen=True)
class FeatureCaching:
    """Settings of the cache for `fit`; `others` are the clips of other folds, so that all folds
    open one store.
    """

    freezing: Freezing
    cache_dir: str | Path | None = None
    others: Sequence[Dataset] = ()


class CachedTraining:
    """Trains a model on stored activations until `end`; `train` and `validation` have no random
    crops.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        caching: FeatureCaching,
        collator: Collator,
        train: Dataset,
        validation: Dataset,
        arguments: EmotionTrainingArguments,
    ):
        if shards():
            raise UserError(
                f"freeze.cache: {shards()} shards frozen weights as well; launch without it"
            )
        began = time.perf_counter()
        freeze(model, caching.freezing)
        cached = cached_module(model, caching.freezing)
        model.to(arguments.device)
        segments = [
            segment
            for clips in (train, validation, *caching.others)
            for segment in segments_of(clips)
        ]
        batching = arguments.per_device_eval_batch_size, arguments.padding_safe
        store = open_feature_store(model, cached, collator, segments, batching, caching.cache_dir)
        self._waveforms = collator
        self.collator = CachedCollator(store, model, cached, collator.epoch)
        self._replacement = Replacement(model, cached)
        seconds = time.perf_counter() - began
        self.facts = {
            "cached": cached.description,
            "clips": len(store),
            "bytes": store.bytes,
            "seconds": seconds,
        }
        logger.info(
            "cached %s: %s of %d clips at %s, ready in %.1f s; a long clip has the same crop in every epoch",
            *(cached.description, format_size(store.bytes), len(store), store.folder, seconds),
        )

    def end(self, trainer: Trainer) -> None:
        """Restore the model, and let the trainer evaluate waveforms."""
        self._replacement.restore()
        trainer.collator = trainer.data_collator = self._waveforms


def fixed_crops(clips: Dataset, store: WaveformStore) -> Dataset:
    """Training clips with a crop that depends on the recording alone, whatever the seed, epoch and
    fold.
    """

    def crop(clip: dict[str, Any]) -> dict[str, Any]:
        row = clip["row"]
        limit = clip["max_samples"]
        if limit and (excess := int(store.lengths[row]) - limit) > 0:
            generator = np.random.default_rng(list(store.content_hashes[row].encode()))
            clip["start"] = int(generator.integers(excess + 1))
        return clip | {"max_samples": 0}

    return Dataset.from_list([crop(clip) for clip in clips])


def segments_of(clips: Dataset) -> list[Segment]:
    return list(zip(clips["row"][:], clips["start"][:], clips["length"][:], strict=True))


@dataclasses.dataclass(frozen=True)
class CachedModule:
    """The frozen `module`, by its full name, whose output is stored: `states` tensors (frames,
    size) per clip.

    `kind` is ``encoder`` for one of transformers, ``network`` for the encoder of a transferred
    network with its front end, and ``features`` for what a front end computes before anything
    random.
    """

    kind: Literal["encoder", "network", "features"]
    description: str
    module: str
    states: int = 1

    def contains(self, name: str) -> bool:
        """Whether the output depends on a tensor or module, by its full name."""
        if name.endswith("masked_spec_embed"):  # used in training only, and possibly random
            return False
        modules = (self.module, "front_end") if self.kind == "network" else (self.module,)
        return any(f"{name}.".startswith(f"{module}.") for module in modules)


def cached_module(model: PreTrainedModel, freezing: Freezing) -> CachedModule:
    """The frozen part of a model whose output for a clip is constant during training."""
    config = model.config
    if isinstance(model, AcousticClassifier):
        return _cached_in_network(model, freezing)
    if not freezing.encoder:
        raise UserError(
            "freeze.cache: only a fully frozen encoder can be cached; set freeze.encoder: true"
        )
    if (kind := encoder_config(config).model_type) in (
        "sew",
        "sew-d",
        "audio-spectrogram-transformer",
    ):
        raise UserError(f"freeze.cache: {kind} cannot be cached; leave it out")
    encoder = structure(model, "freeze.cache").encoder
    if getattr(config, "weighted_layer_sum", False) or getattr(
        config, "use_weighted_layer_sum", False
    ):
        states = len(structure(model, "freeze.cache").layers) + 1
        return CachedModule(
            "encoder", f"all {states} hidden states of the encoder", encoder, states
        )
    return CachedModule("encoder", "last hidden states of the encoder", encoder)


def _cached_in_network(model: AcousticClassifier, freezing: Freezing) -> CachedModule:
    name = model.config.model_type.removeprefix("ser_")
    changing = [f"model.{key}" for key in _RANDOM if getattr(model.config, key, 0)]
    if isinstance(model, TransferClassifier) and freezing != Freezing():
        if not freezing.encoder or changing:
            raise UserError(
                f"freeze.cache: only the whole encoder of {name} can be cached: set freeze.encoder: true, and leave "
                "out "
                f"{', '.join(changing) or 'freeze.layers and freeze.top_layers'}"
            )
        return CachedModule("network", f"output of the encoder of {name}", "encoder")
    features = getattr(getattr(model, "front_end", None), "features", None)
    if not isinstance(features, LogMel | Mfcc):
        raise UserError(f"freeze.cache: {name} has no front end that could be cached; leave it out")
    if "model.band_warp" in changing:
        raise UserError(
            "freeze.cache: model.band_warp changes the features at random; leave out one of the two"
        )
    mel = "front_end.features.mel" if isinstance(features, Mfcc) else "front_end.features"
    return CachedModule("features", "log-mel spectrograms", mel)


@torch.no_grad()
def compute_activations(
    model: PreTrainedModel, cached: CachedModule, batch: dict[str, Any]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Activations of a batch in evaluation mode, float32 (batch, states, frames, size), and frames
    per clip.
    """
    batch = {name: value.to(model.device) for name, value in batch.items() if name != "labels"}
    model.eval()
    own_head = model.config.model_type == "ser_encoder"
    calls = []

    def record(module: nn.Module, args: tuple, output: Any) -> None:
        calls.append((args, output))

    modules = [cached.module, "pooling"] if own_head else [cached.module]
    handles = [model.get_submodule(name).register_forward_hook(record) for name in modules]
    try:
        model(**batch)
    finally:
        for handle in handles:
            handle.remove()
    output = calls[0][1]
    if cached.kind != "encoder":
        if isinstance(output, torch.Tensor):  # one vector per clip
            return output[:, None, None].float().cpu(), torch.ones(len(output), dtype=torch.long)
        return output[0][:, None].float().cpu(), output[1].sum(dim=1).cpu()
    states = list(output.hidden_states) if cached.states > 1 else [output.last_hidden_state]
    if own_head:  # sums the last state with the encoder's final norm
        states[-1] = output.last_hidden_state
    states = torch.stack(states, dim=1)
    if own_head:
        (_, mask), _ = calls[1]
    elif "attention_mask" in batch and not has_fixed_length(model.config):
        mask = getattr(model, _FRAME_MASK)(states.shape[2], batch["attention_mask"])
    else:
        mask = states.new_ones(len(states), states.shape[2])
    return states.float().cpu(), mask.bool().sum(dim=1).cpu()


class FeatureStore:
    """Stored activations: `store[segment]` is a read-only array (states, frames, size)."""

    def __init__(self, folder: Path):
        self.folder = folder
        with np.load(folder / "index.npz", allow_pickle=False) as index:
            self.states, self.size = int(index["states"]), int(index["size"])
            self._places = {
                tuple(segment): i for i, segment in enumerate(index["segments"].tolist())
            }
            self._frames, self.hash = index["frames"], str(index["hash"])
        self._ends = self.states * self.size * np.cumsum(self._frames, dtype=np.int64)
        self._values = MappedFile(folder / "states", _DTYPE)
        if self.bytes != int(self._ends[-1]) * _DTYPE.itemsize:
            raise ValueError(f"states has {self.bytes} bytes, not as many as the index describes")

    def __len__(self) -> int:
        return len(self._places)

    @property
    def bytes(self) -> int:
        return self._values.bytes

    def __getitem__(self, segment: Segment) -> np.ndarray:
        place = self._places[segment]
        frames = int(self._frames[place])
        end = int(self._ends[place])
        begin = end - self.states * frames * self.size
        return self._values[begin:end].reshape(self.states, frames, self.size)


def open_feature_store(
    model: PreTrainedModel,
    cached: CachedModule,
    collator: Collator,
    segments: Sequence[Segment],
    batching: tuple[int, bool] = (1, True),
    cache_dir: str | Path | None = None,
) -> FeatureStore:
    """The store of the given segments, built first if it is missing or damaged, by one process
    while others wait. `batching` is the size of batches, and whether outputs stay the same under
    padding (`batches`)."""
    segments = sorted(set(segments), key=lambda segment: (segment[2], segment))
    folder = cache_root(cache_dir) / "frozen" / _key(model, cached, collator, segments)
    was_training = model.training
    with built_once(folder, _check) as fresh:
        if fresh is not None:
            _build(fresh, model, cached, collator, segments, batching)
    model.train(was_training)
    return FeatureStore(folder)


def _check(folder: Path) -> None:
    """Raise a ValueError if the stored states are not the written ones."""
    store = FeatureStore(folder)
    if store.bytes <= _VERIFIED_BYTES:
        with (folder / "states").open("rb") as file:
            if hashlib.file_digest(file, xxhash.xxh3_128).hexdigest() != store.hash:
                raise ValueError("the hash of states does not match")


def _key(
    model: PreTrainedModel, cached: CachedModule, collator: Collator, segments: Sequence[Segment]
) -> str:
    modules = [(name, module) for name, module in model.named_modules() if cached.contains(name)]
    config = encoder_config(model.config)
    values = {key: repr(value) for key, value in config.to_dict().items()}
    if cached.kind == "features":
        settings = {key: values[key] for key in sorted(_OF_FEATURES & values.keys())}
        settings["min_frames"] = model.get_submodule(cached.module).short_time.min_frames
    else:
        settings = {
            key: value
            for key, value in values.items()
            if not any(word in key for word in _IRRELEVANT)
        }
        settings["attention"] = config._attn_implementation  # not part of a saved configuration
    own_files = {
        inspect.getsourcefile(type(own))
        for _, own in modules
        if type(own).__module__.startswith("ser_hf.")
    }

    def digest(tensor: torch.Tensor) -> list:
        content = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
        return [list(tensor.shape), str(tensor.dtype), xxhash.xxh3_128_hexdigest(content)]

    # How a device multiplies float32 decides the last digits.
    device = model.device.type
    backends = torch.backends
    arithmetic = [
        backends.fp32_precision,
        backends.cuda.matmul.fp32_precision,
        backends.cudnn.conv.fp32_precision,
    ]
    return key_of(
        {
            "format": _FORMAT,
            "cached": [cached.kind, cached.states, cached.module],
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
            "code": {name: type(module).__qualname__ for name, module in modules},
            "own_code": [
                xxhash.xxh3_128_hexdigest(Path(file).read_bytes()) for file in sorted(own_files)
            ],
            "settings": settings,
            "arithmetic": [device, arithmetic, torch.is_autocast_enabled(device)],
            "extractor": {key: repr(value) for key, value in collator.extractor.to_dict().items()},
            "shortest": collator.shortest,
            "tensors": {
                name: digest(value)
                for name, value in model.state_dict().items()
                if cached.contains(name)
            },
            "audio": [
                collator.store.folder.name,
                collator.store.sampling_rate,
                list(map(list, segments)),
            ],
        }
    )


def _build(
    fresh: Path,
    model: PreTrainedModel,
    cached: CachedModule,
    collator: Collator,
    segments: Sequence[Segment],
    batching: tuple[int, bool],
) -> None:
    names = ("row", "start", "length")
    clips = [
        dict(zip(names, segment, strict=True), labels=0, max_samples=0) for segment in segments
    ]
    frames = []
    hashed = xxhash.xxh3_128()
    with (
        (fresh / "states").open("wb") as file,
        tqdm(total=len(segments), desc="caching frozen features", unit="clip", disable=None) as bar,
    ):
        # With its own generator: the run draws the same numbers whether the store existed or not.
        generator = torch.Generator()
        together = [
            list(range(*bounds)) for bounds in batches([own["length"] for own in clips], *batching)
        ]
        for batch in DataLoader(
            clips, batch_sampler=together, collate_fn=collator, generator=generator
        ):
            states, counts = compute_activations(model, cached, batch)
            for own, count in zip(states, counts.tolist(), strict=True):
                with np.errstate(over="ignore"):
                    values = own[:, :count].numpy().astype(_DTYPE)
                if not np.isfinite(values).all():
                    raise UserError(
                        f"freeze.cache: {cached.description} of the clip in row {segments[len(frames)][0]} exceed the "
                        "range of float16; leave out freeze.cache"
                    )
                content = values.tobytes()
                file.write(content)
                hashed.update(content)
                frames.append(count)
                bar.update()
    np.savez(
        fresh / "index.npz",
        states=cached.states,
        size=states.shape[3],
        segments=np.asarray(segments, dtype=np.int64),
        frames=np.asarray(frames, dtype=np.int64),
        hash=hashed.hexdigest(),
    )


class CachedCollator:
    """Batches of stored activations with labels, a mask and inputs of the right shape."""

    def __init__(
        self, store: FeatureStore, model: PreTrainedModel, cached: CachedModule, epoch: torch.Tensor
    ):
        self.store = store
        self.epoch = epoch
        self._input = model.main_input_name
        # Stock heads on inputs of a fixed length know no mask.
        stock = model.config.model_type != "ser_encoder"
        self._masked = cached.kind == "encoder" and not (stock and has_fixed_length(model.config))

    def __call__(self, clips: list[dict[str, Any]], training: bool = False) -> dict[str, Any]:
        stored = [self.store[clip["row"], clip["start"], clip["length"]] for clip in clips]
        frames = np.asarray([states.shape[1] for states in stored])
        states = np.zeros(
            (len(stored), self.store.states, frames.max(), self.store.size), dtype=_DTYPE
        )
        for i, own in enumerate(stored):
            states[i, :, : own.shape[1]] = own
        batch = {STATES: states, FRAMES: frames, "labels": labels_of(clips)}
        batch = {name: torch.from_numpy(values) for name, values in batch.items()}
        if self._masked:
            batch["attention_mask"] = (
                torch.arange(int(frames.max())) < batch[FRAMES][:, None]
            ).long()
        # Only the shape of the inputs is used; expanding takes no memory.
        batch[self._input] = torch.zeros(()).expand(len(clips), int(frames.max()))
        return batch


class CachedActivations(nn.Module):
    """Replaces a frozen module by a function of stored `states` (batch, states, frames, size) and
    `mask`.
    """

    def __init__(self, compute: Callable[..., Any]):
        super().__init__()
        self.compute = compute
        self.states = self.mask = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.compute(self)


class Replacement:
    """Replaces frozen modules by `CachedActivations` until `restore`; other tensors keep their
    names.
    """

    def __init__(self, model: PreTrainedModel, cached: CachedModule):
        self.model = model
        self._replaced: dict[str, nn.Module] = {}
        self._handle = model.register_forward_pre_hook(self._set_activations, with_kwargs=True)

        def encoder_output(own: CachedActivations) -> BaseModelOutputWithPooling:
            states = own.states.unbind(dim=1)
            return BaseModelOutputWithPooling(last_hidden_state=states[-1], hidden_states=states)

        def features(own: CachedActivations) -> tuple[torch.Tensor, torch.Tensor]:
            return own.states[:, 0], own.mask

        if cached.kind == "encoder":
            activations = self._replace(cached.module, encoder_output)
            # heads of transformers call it on themselves, ours on the encoder
            for owner in (model, activations):
                setattr(owner, _FRAME_MASK, lambda *args: activations.mask)
        elif cached.kind == "network":
            self._replace(
                "front_end", lambda own: (own.states.new_zeros(len(own.states), 1, 1), own.mask)
            )
            # The encoder of CNN14 returns one vector per clip.
            vectors = isinstance(model.encoder, CNN14Encoder)
            self._replace(cached.module, (lambda own: own.states[:, 0, 0]) if vectors else features)
        else:
            self._replace(cached.module, features)

    def restore(self) -> None:
        """Put the modules back, on the device of the model."""
        device = self.model.device
        self._handle.remove()
        for name, module in self._replaced.items():
            self.model.set_submodule(name, module)
        vars(self.model).pop(_FRAME_MASK, None)
        self.model.to(device)

    def _set_activations(
        self, model: nn.Module, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[tuple, dict[str, Any]]:
        # They stay until the next batch: gradient checkpointing runs layers again in the backward
        # pass.
        kwargs = dict(kwargs)
        states = kwargs.pop(STATES).float()
        frames = kwargs.pop(FRAMES)
        mask = torch.arange(states.shape[2], device=frames.device) < frames[:, None]
        for name in self._replaced:
            activations = self.model.get_submodule(name)
            activations.states = states
            activations.mask = mask
        return args, kwargs

    def _replace(self, name: str, compute: Callable[..., Any]) -> CachedActivations:
        self._replaced[name] = self.model.get_submodule(name)
        activations = CachedActivations(compute)
        self.model.set_submodule(name, activations)
        return activations
