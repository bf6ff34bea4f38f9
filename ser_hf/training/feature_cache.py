"""`freeze.cache`: computes the output of a frozen encoder or front end once and trains on it.

During training `CachedActivations` replace the frozen modules, and batches carry the activations of their clips.
Checkpoints hold only the remaining modules. Afterwards the model is complete again and evaluated on waveforms.

The activations are in a `FeatureStore`, whose name is a hash of everything that they depend on: frozen weights, code
and settings of the modules, device, feature extractor, and the segments of the clips.
"""

import dataclasses
import hashlib
import inspect
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
import xxhash
from datasets import Dataset
from torch import nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import BatchFeature, PreTrainedConfig, PreTrainedModel, Trainer
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..audio import WaveformStore
from ..models.configuration import AcousticConfig
from ..models.front_end import FrontEnd, Mfcc
from ..models.modeling_base import AcousticClassifier
from ..models.modeling_descriptors import FrameDescriptors
from ..models.modeling_transfer import CNN14Encoder, TransferClassifier, VGGishFrontEnd
from ..utils.cache import InUse, built_once, cache_root, format_size, key_of
from ..utils.errors import UserError
from .arguments import EmotionTrainingArguments
from .checkpoints import shards
from .data import Collator, labels_of
from .encoders import encoder_config, has_fixed_length
from .freezing import Freezing, freeze, structure

logger = logging.getLogger(__name__)

# A segment of a clip: row of the corpus, first sample, samples.
Segment = tuple[int, int, int]
# Keys of a batch besides inputs, mask and labels: stored activations (batch, states, frames, size) and the number of
# frames of each clip (batch,).
STATES, FRAMES = "cached_states", "cached_frames"

_FORMAT = 4
# The content of a larger store is not read to verify it.
_VERIFIED_BYTES = 4e9
_FRAME_MASK = "_get_feature_vector_attention_mask"
_TOKENS = 2  # class and distillation token of the audio spectrogram transformer
# Front ends do this at random during training.
_RANDOM = ("band_warp", "time_stretch", "mix_style", "time_masks", "band_masks")
# Words in the names of settings without effect in evaluation mode, or below a head.
_IRRELEVANT = ("drop", "mask_", "spec_augment", "label", "classifier", "weighted", "warp")
# Settings of our front ends that decide what is computed of a waveform before anything random.
_OF_FEATURES = {field.name for field in dataclasses.fields(AcousticConfig)}
_OF_FEATURES -= {field.name for field in dataclasses.fields(PreTrainedConfig)}
_OF_FEATURES -= {"deltas", "normalization", "frames", "frame_fit", "n_mfcc", "time_width", "band_width", *_RANDOM}
_OF_FEATURES |= {"descriptors", "roll_off", "pitch_min", "pitch_max", "example_hop"}


@dataclasses.dataclass(frozen=True)
class FeatureCaching:
    """Settings of the cache for `fit`; `others` are the clips of other folds, so that all folds open one store."""

    freezing: Freezing
    cache_dir: str | Path | None = None
    others: Sequence[Dataset] = ()


class CachedTraining:
    """Trains a model on a store of activations until `end`; `train` and `validation` are without random crops."""

    def __init__(
        self,
        model: PreTrainedModel,
        caching: FeatureCaching,
        collator: Collator,
        train: Dataset,
        validation: Dataset,
        arguments: EmotionTrainingArguments,
    ):
        if collator.transforms.augmenter or collator.transforms.mixing:
            raise ValueError("cached features cannot be augmented")
        if shards():
            raise UserError(f"freeze.cache: {shards()} shards frozen weights as well; launch without it")
        began = time.perf_counter()
        freeze(model, caching.freezing)
        cached = cached_module(model, caching.freezing)
        model.to(arguments.device)
        segments = [segment for clips in (train, validation, *caching.others) for segment in segments_of(clips)]
        store = open_feature_store(
            model, cached, collator, segments, arguments.per_device_eval_batch_size, caching.cache_dir
        )
        self._waveforms = collator
        self.collator = CachedCollator(store, model, cached, collator.epoch)
        self._replacement = Replacement(model, cached)
        seconds = time.perf_counter() - began
        self.facts = {"cached": cached.description, "clips": len(store), "bytes": store.bytes, "seconds": seconds}
        logger.info(
            "cached %s: %s of %d clips at %s, ready in %.1f s; a long clip has the same crop in every epoch",
            *(cached.description, format_size(store.bytes), len(store), store.folder, seconds),
        )

    def end(self, trainer: Trainer) -> None:
        """Restore the model, and let the trainer evaluate waveforms."""
        self._replacement.restore()
        trainer.collator = trainer.data_collator = self._waveforms


def fixed_crops(clips: Dataset, store: WaveformStore) -> Dataset:
    """Training clips with a crop that depends on the recording alone, whatever the seed, epoch and fold."""
    columns = clips.to_dict()
    starts = []
    for row, start, limit in zip(columns["row"], columns["start"], columns["max_samples"], strict=True):
        excess = int(store.lengths[row]) - limit
        if limit and excess > 0:
            start = int(np.random.default_rng(list(store.content_hashes[row].encode())).integers(excess + 1))
        starts.append(start)
    return Dataset.from_dict(columns | {"start": starts, "max_samples": [0] * len(starts)})


def segments_of(clips: Dataset) -> list[Segment]:
    return list(zip(clips["row"][:], clips["start"][:], clips["length"][:], strict=True))


# What is cached


@dataclasses.dataclass(frozen=True)
class CachedModule:
    """The frozen module whose output is stored.

    Args:
        kind: ``encoder`` of transformers, ``network`` for the encoder of a transferred network with its front end,
            ``features`` for what a front end computes before anything random.
        module: full name in the model.
        states: tensors (frames, size) per clip.
        tokens: number of leading frames that are stored, None for all.
        pooled: whether the module returns one vector per clip.
    """

    kind: str
    description: str
    module: str
    states: int = 1
    tokens: int | None = None
    pooled: bool = False
    dtype: str = "float16"

    def contains(self, name: str) -> bool:
        """Whether the output depends on a tensor or module, by its full name."""
        if name.endswith("masked_spec_embed"):  # used in training only, and possibly random
            return False
        modules = (self.module, "front_end") if self.kind == "network" else (self.module,)
        return any(f"{name}.".startswith(f"{module}.") for module in modules)


def cached_module(model: PreTrainedModel, freezing: Freezing) -> CachedModule:
    """The frozen part of a model whose output for a clip is constant during training."""
    if isinstance(model, AcousticClassifier):
        return _cached_in_network(model, freezing)
    if not freezing.encoder:
        raise UserError(
            "freeze.cache: only a fully frozen encoder can be cached; set freeze.encoder: true, or leave it out"
        )
    config = model.config
    if (kind := encoder_config(config).model_type) in ("sew", "sew-d"):  # layers on squeezed frames
        raise UserError(f"freeze.cache: {kind} cannot be cached; leave it out")
    summed = "weighted_layer_sum" if config.model_type == "ser_encoder" else "use_weighted_layer_sum"
    where = structure(model, "freeze.cache")
    if getattr(config, summed, False):
        states = len(where.layers) + 1
        return CachedModule("encoder", f"all {states} hidden states of the encoder", where.encoder, states)
    tokens = _TOKENS if config.model_type == "audio-spectrogram-transformer" else None
    return CachedModule("encoder", "last hidden states of the encoder", where.encoder, tokens=tokens)


def _cached_in_network(model: AcousticClassifier, freezing: Freezing) -> CachedModule:
    name = model.config.model_type.removeprefix("ser_")
    if isinstance(model, TransferClassifier) and freezing != Freezing():
        changing = [f"model.{key}" for key in _RANDOM if getattr(model.config, key, 0)]
        if not freezing.encoder or changing:
            raise UserError(
                f"freeze.cache: of {name} the whole encoder can be cached (freeze.encoder without "
                f"{', '.join(changing) or 'freeze.layers and freeze.top_layers'}) or, with nothing frozen, the front "
                "end; leave out one of the two"
            )
        pooled = isinstance(model.encoder, CNN14Encoder)
        return CachedModule("network", f"output of the encoder of {name}", "encoder", pooled=pooled)
    front_end = getattr(model, "front_end", None)
    if isinstance(front_end, VGGishFrontEnd):
        return CachedModule("features", "log-mel examples", "front_end")
    if not isinstance(front_end, FrontEnd):
        raise UserError(f"freeze.cache: {name} has no fixed front end that could be cached; leave it out")
    if getattr(model.config, "band_warp", 0):
        raise UserError("freeze.cache: model.band_warp changes the features at random; leave out one of the two")
    if isinstance(front_end.features, FrameDescriptors):
        # Units of descriptors lie orders of magnitude apart, too far for float16.
        return CachedModule("features", "frame descriptors", "front_end.features", dtype="float32")
    mel = "front_end.features.mel" if isinstance(front_end.features, Mfcc) else "front_end.features"
    return CachedModule("features", "log-mel spectrograms", mel)


class _Recorded(Exception):
    """Skips the rest of a forward pass."""


@torch.no_grad()
def compute_activations(
    model: PreTrainedModel, cached: CachedModule, batch: BatchFeature
) -> tuple[torch.Tensor, torch.Tensor]:
    """Activations of a batch in evaluation mode, on the CPU.

    Returns:
        States (batch, states, frames, size) in float32, and the number of frames of each clip (batch,).
    """
    batch = {name: value.to(model.device) for name, value in batch.items() if name != "labels"}
    model.eval()
    own_head = model.config.model_type == "ser_encoder"
    calls = []

    def record(module: nn.Module, args: tuple, output: Any) -> None:
        calls.append((args, output))
        if len(calls) == len(handles):
            raise _Recorded

    modules = [cached.module, "pooling"] if own_head else [cached.module]
    handles = [model.get_submodule(name).register_forward_hook(record) for name in modules]
    try:
        with suppress(_Recorded):
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
    states = torch.stack(states, dim=1)[:, :, : cached.tokens]
    if own_head:
        (_, mask), _ = calls[1]
    elif "attention_mask" in batch and not has_fixed_length(model.config):
        mask = getattr(model, _FRAME_MASK)(states.shape[2], batch["attention_mask"])
    else:
        mask = states.new_ones(len(states), states.shape[2])
    padded = (~mask.bool()).sum(dim=1)  # heads on the spectrogram transformer leave out tokens, which have no padding
    return states.float().cpu(), (states.shape[2] - padded).cpu()


# The store


class FeatureStore:
    """Stored activations: `store[segment]` is a read-only array (states, frames, size)."""

    def __init__(self, folder: Path):
        self.folder = folder
        with np.load(folder / "index.npz", allow_pickle=False) as index:
            self.states, self.size = int(index["states"]), int(index["size"])
            self.dtype = np.dtype(str(index["dtype"]))
            self._places = {tuple(segment): i for i, segment in enumerate(index["segments"].tolist())}
            self._frames, self.hash = index["frames"], str(index["hash"])
        self._ends = self.states * self.size * np.cumsum(self._frames, dtype=np.int64)
        if self.bytes != int(self._ends[-1]) * self.dtype.itemsize:
            raise ValueError(f"states has {self.bytes} bytes, not as many as the index describes")
        self._in_use: InUse | None = InUse(folder)
        self._values: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._places)

    @property
    def bytes(self) -> int:
        return (self.folder / "states").stat().st_size

    def __getitem__(self, segment: Segment) -> np.ndarray:
        if self._values is None:
            self._values = np.memmap(self.folder / "states", dtype=self.dtype, mode="r")
        place = self._places[segment]
        frames, end = int(self._frames[place]), int(self._ends[place])
        begin = end - self.states * frames * self.size
        return self._values[begin:end].reshape(self.states, frames, self.size)

    def __getstate__(self):
        """Worker processes map the file themselves."""
        return self.__dict__ | {"_values": None, "_in_use": None}


def open_feature_store(
    model: PreTrainedModel,
    cached: CachedModule,
    collator: Collator,
    segments: Sequence[Segment],
    batch_size: int = 1,
    cache_dir: str | Path | None = None,
) -> FeatureStore:
    """The store of the given segments, built first if necessary.

    One process builds a store and the others wait. A damaged store is built again.

    Args:
        batch_size: clips per batch; more than one only if padding does not change the outputs of the model.
    """
    segments = sorted(set(segments), key=lambda segment: (segment[2], segment))
    folder = cache_root(cache_dir) / "frozen" / _key(model, cached, collator, segments)
    was_training = model.training
    with built_once(folder, _check) as fresh:
        if fresh is not None:
            _build(fresh, model, cached, collator, segments, batch_size)
    model.train(was_training)
    return FeatureStore(folder)


def _check(folder: Path) -> None:
    """Raise a ValueError if the states differ from what was written."""
    store = FeatureStore(folder)
    if store.bytes <= _VERIFIED_BYTES:
        with (folder / "states").open("rb") as file:
            if hashlib.file_digest(file, xxhash.xxh3_128).hexdigest() != store.hash:
                raise ValueError("the hash of states does not match")


def _key(model: PreTrainedModel, cached: CachedModule, collator: Collator, segments: Sequence[Segment]) -> str:
    modules = [(name, module) for name, module in model.named_modules() if cached.contains(name)]
    config = encoder_config(model.config)
    values = {key: repr(value) for key, value in config.to_dict().items()}
    if cached.kind == "features":
        settings = {key: values[key] for key in sorted(_OF_FEATURES & values.keys())}
        settings["min_frames"] = model.get_submodule(cached.module).short_time.min_frames
    else:
        settings = {key: value for key, value in values.items() if not any(word in key for word in _IRRELEVANT)}
        settings["attention"] = config._attn_implementation  # not part of a saved configuration
    own_files = {inspect.getsourcefile(type(own)) for _, own in modules if type(own).__module__.startswith("ser_hf.")}
    # How a device multiplies float32 decides the last digits.
    device, backends = model.device.type, torch.backends
    arithmetic = [backends.fp32_precision, backends.cuda.matmul.fp32_precision, backends.cudnn.conv.fp32_precision]
    return key_of(
        {
            "format": _FORMAT,
            "cached": [cached.kind, cached.states, cached.module, cached.tokens],
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
            "code": {name: type(module).__qualname__ for name, module in modules},
            "own_code": [xxhash.xxh3_128_hexdigest(Path(file).read_bytes()) for file in sorted(own_files)],
            "settings": settings,
            "arithmetic": [device, arithmetic, torch.is_autocast_enabled(device)],
            "extractor": {key: repr(value) for key, value in collator.extractor.to_dict().items()},
            "shortest": collator.shortest,
            "tensors": {name: _digest(value) for name, value in model.state_dict().items() if cached.contains(name)},
            "audio": [collator.store.folder.name, collator.store.sampling_rate, list(map(list, segments))],
        }
    )


def _digest(tensor: torch.Tensor) -> list:
    content = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
    return [list(tensor.shape), str(tensor.dtype), xxhash.xxh3_128_hexdigest(content)]


def _build(
    fresh: Path,
    model: PreTrainedModel,
    cached: CachedModule,
    collator: Collator,
    segments: Sequence[Segment],
    batch_size: int,
) -> None:
    rows, starts, lengths = np.asarray(segments, dtype=np.int64).reshape(-1, 3).T
    zeros = np.zeros_like(rows)
    clips = {"row": rows, "labels": zeros, "start": starts, "length": lengths, "max_samples": zeros}
    dtype, frames, hashed = np.dtype(cached.dtype), [], xxhash.xxh3_128()
    with (
        (fresh / "states").open("wb") as file,
        tqdm(total=len(segments), desc="caching frozen features", unit="clip", disable=None) as bar,
    ):
        # With its own generator: the run draws the same numbers whether the store existed or not.
        generator = torch.Generator()
        for batch in DataLoader(Dataset.from_dict(clips), batch_size, collate_fn=collator, generator=generator):
            states, counts = compute_activations(model, cached, batch)
            for own, count in zip(states, counts.tolist(), strict=True):
                with np.errstate(over="ignore"):
                    values = own[:, :count].numpy().astype(dtype)
                if not np.isfinite(values).all():
                    raise UserError(
                        f"freeze.cache: {cached.description} of the clip in row {segments[len(frames)][0]} exceed the "
                        f"range of {dtype.name}; leave out freeze.cache"
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
        dtype=dtype.str,
        segments=np.asarray(segments, dtype=np.int64),
        frames=np.asarray(frames, dtype=np.int64),
        hash=hashed.hexdigest(),
    )


# Training on the store


class CachedCollator:
    """Batches of stored activations with labels, a mask and inputs of the right shape."""

    def __init__(self, store: FeatureStore, model: PreTrainedModel, cached: CachedModule, epoch: torch.Tensor):
        self.store, self.epoch = store, epoch
        self._input = model.main_input_name
        # Stock heads on inputs of a fixed length know no mask.
        stock = model.config.model_type != "ser_encoder"
        self._masked = cached.kind == "encoder" and not (stock and has_fixed_length(model.config))

    def __call__(self, clips: list[dict[str, Any]], training: bool = False) -> BatchFeature:
        stored = [self.store[clip["row"], clip["start"], clip["length"]] for clip in clips]
        frames = np.asarray([states.shape[1] for states in stored])
        states = np.zeros((len(stored), self.store.states, frames.max(), self.store.size), dtype=self.store.dtype)
        for i, own in enumerate(stored):
            states[i, :, : own.shape[1]] = own
        batch = {STATES: states, FRAMES: frames, "labels": labels_of(clips)}
        batch = BatchFeature({name: torch.from_numpy(values) for name, values in batch.items()})
        if self._masked:
            batch["attention_mask"] = (torch.arange(int(frames.max())) < batch[FRAMES][:, None]).long()
        # Only the shape of the inputs is used; expanding takes no memory.
        batch[self._input] = torch.zeros(()).expand(len(clips), int(frames.max()))
        return batch


class CachedActivations(nn.Module):
    """Replaces a frozen module: returns what `compute` makes of `states` (batch, states, frames, size) and `mask`
    (batch, frames), which are set before each forward pass."""

    def __init__(self, compute: Callable[..., Any]):
        super().__init__()
        self.compute = compute
        self.states = self.mask = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.compute(self)


class Replacement:
    """Puts `CachedActivations` in the place of frozen modules until `restore`.

    All other tensors keep their names.
    """

    def __init__(self, model: PreTrainedModel, cached: CachedModule):
        self.model = model
        self._replaced: dict[str, nn.Module] = {}
        self._handle = model.register_forward_pre_hook(self._set_activations, with_kwargs=True)
        if cached.kind == "encoder":
            activations = self._replace(cached.module, _spectrogram_output if cached.tokens else _encoder_output)
            for owner in (model, activations):  # heads of transformers call it on themselves, ours on the encoder
                setattr(owner, _FRAME_MASK, lambda *args: activations.mask)
        elif cached.kind == "network":
            self._replace("front_end", lambda own: (own.states.new_zeros(len(own.states), 1, 1), own.mask))
            self._replace(cached.module, _vectors if cached.pooled else _features)
        else:
            self._replace(cached.module, _features)

    def restore(self) -> None:
        """Put the modules back, on the device of the model."""
        device = self.model.device
        self._handle.remove()
        for name, module in self._replaced.items():
            self.model.set_submodule(name, module)
        vars(self.model).pop(_FRAME_MASK, None)
        self.model.to(device)

    def _set_activations(self, model: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        # They stay until the next batch: gradient checkpointing runs layers again in the backward pass.
        kwargs = dict(kwargs)
        states, frames = kwargs.pop(STATES).float(), kwargs.pop(FRAMES)
        mask = torch.arange(states.shape[2], device=frames.device) < frames[:, None]
        for name in self._replaced:
            activations = self.model.get_submodule(name)
            activations.states, activations.mask = states, mask
        return args, kwargs

    def _replace(self, name: str, compute: Callable[..., Any]) -> CachedActivations:
        self._replaced[name] = self.model.get_submodule(name)
        activations = CachedActivations(compute)
        self.model.set_submodule(name, activations)
        return activations


def _encoder_output(own: CachedActivations) -> BaseModelOutputWithPooling:
    states = own.states.unbind(dim=1)
    return BaseModelOutputWithPooling(last_hidden_state=states[-1], hidden_states=states)


def _spectrogram_output(own: CachedActivations) -> BaseModelOutputWithPooling:
    last = own.states[:, -1]
    return BaseModelOutputWithPooling(last_hidden_state=last, pooler_output=last[:, :_TOKENS].mean(dim=1))


def _features(own: CachedActivations) -> tuple[torch.Tensor, torch.Tensor]:
    return own.states[:, 0], own.mask


def _vectors(own: CachedActivations) -> torch.Tensor:
    return own.states[:, 0, 0]
