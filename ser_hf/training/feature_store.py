"""The store of activations of clips: a memory-mapped file of float16 or float32, and its index."""

import dataclasses
import hashlib
import inspect
import itertools
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
import xxhash
from datasets import Dataset
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import PreTrainedConfig, PreTrainedModel

from ..loading.batches import SAMPLES_A_CLIP, longest_first
from ..loading.encoders import encoder_config
from ..models.configuration import AcousticConfig
from ..utils.cache import MappedFile, built_once, cache_root, key_of
from ..utils.environment import MemoryLimit, return_freed_memory
from ..utils.errors import UserError
from .cached_module import RANDOM_SETTINGS, CachedModule, compute_activations
from .collator import Collator

_FORMAT = 6
# The content of a larger store is not read to verify it.
_VERIFIED_BYTES = 4e9
# Parts of the names of settings that have no effect in evaluation mode, or only in the head.
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
# Settings of our front ends that change the features before any random change.
_OF_FEATURES = {field.name for field in dataclasses.fields(AcousticConfig)}
_OF_FEATURES -= {field.name for field in dataclasses.fields(PreTrainedConfig)}
_OF_FEATURES -= {"deltas", "normalization", "frames", "frame_fit", "n_mfcc"}
_OF_FEATURES -= {"time_width", "band_width", *RANDOM_SETTINGS}


class Segment(NamedTuple):
    """A part of a recording: the row of the corpus, and its first sample and length in samples."""

    row: int
    start: int
    length: int


def segments_of(clips: Dataset) -> list[Segment]:
    """The segments of clips from `clip_table`, without random crops."""
    columns = zip(clips["row"][:], clips["start"][:], clips["length"][:], strict=True)
    return [Segment(*segment) for segment in columns]


class FeatureStore:
    """A folder of stored activations; `store[segment]` is read-only, (states, frames, size)."""

    def __init__(self, folder: Path):
        self.folder = folder
        with np.load(folder / "index.npz", allow_pickle=False) as index:
            self.states = int(index["states"])
            self.size = int(index["size"])
            self.dtype = np.dtype(str(index["dtype"]))
            self.hash = str(index["hash"])
            self._frames = index["frames"]
            segments = index["segments"].tolist()
        self._numbers = {tuple(segment): i for i, segment in enumerate(segments)}
        self._ends = self.states * self.size * np.cumsum(self._frames, dtype=np.int64)
        self._values = MappedFile(folder / "states", self.dtype)
        if self.bytes != int(self._ends[-1]) * self.dtype.itemsize:
            raise ValueError(f"states has {self.bytes} bytes, not as many as the index describes")

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def bytes(self) -> int:
        """The size of the file."""
        return self._values.bytes

    def __getitem__(self, segment: Segment) -> np.ndarray:
        number = self._numbers[segment]
        frames = int(self._frames[number])
        end = int(self._ends[number])
        begin = end - self.states * frames * self.size
        return self._values[begin:end].reshape(self.states, frames, self.size)


def open_feature_store(
    model: PreTrainedModel,
    cached: CachedModule,
    collator: Collator,
    segments: Iterable[Segment],
    *,
    batch_size: int = 1,
    padding_safe: bool = True,
    cache_dir: str | Path | None = None,
) -> FeatureStore:
    """Open the store of the given segments; build the store first if it is missing or damaged.

    One process builds the store while the others wait.

    Args:
        batch_size, padding_safe: see `ser_hf.loading.batches.longest_first`.
    """
    segments = sorted(set(segments), key=lambda segment: (segment.length, segment))
    folder = cache_root(cache_dir) / "frozen" / _key(model, cached, collator, segments)
    was_training = model.training
    with built_once(folder, _check) as new_folder:
        if new_folder is not None:
            segment_batches = longest_first(
                [segment.length for segment in segments],
                batch_size,
                padding_safe,
                most=batch_size * SAMPLES_A_CLIP,
            )
            _build(
                new_folder,
                model,
                cached,
                collator,
                [[segments[i] for i in indices] for indices in segment_batches],
            )
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
    """The key of a store, which changes with everything that changes the stored activations."""
    modules = {name: module for name, module in model.named_modules() if cached.contains(name)}
    tensors = {name: value for name, value in model.state_dict().items() if cached.contains(name)}
    extractor = collator.extractor.to_dict()
    return key_of(
        {
            "format": _FORMAT,
            "cached": [cached.kind, cached.states, cached.module, len(cached.layers)],
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
            "code": {name: type(module).__qualname__ for name, module in modules.items()},
            "own_code": _code_hashes(modules.values()),
            "settings": _settings(model, cached),
            "arithmetic": _arithmetic(model.device.type),
            "extractor": {key: repr(value) for key, value in extractor.items()},
            "shortest": collator.shortest,
            "tensors": {name: _digest(tensor) for name, tensor in tensors.items()},
            "audio": [
                collator.store.folder.name,
                collator.store.sampling_rate,
                [list(segment) for segment in segments],
            ],
        }
    )


def _settings(model: PreTrainedModel, cached: CachedModule) -> dict[str, str | int | None]:
    """Settings of the configuration that change the output of the cached module."""
    config = encoder_config(model.config)
    values = {key: repr(value) for key, value in config.to_dict().items()}
    if cached.kind == "features":
        settings = {key: values[key] for key in sorted(_OF_FEATURES & values.keys())}
        settings["min_frames"] = model.get_submodule(cached.module).short_time.min_frames
        return settings
    settings = {
        key: value for key, value in values.items() if not any(word in key for word in _IRRELEVANT)
    }
    settings["attention"] = config._attn_implementation  # not part of a saved configuration
    return settings


def _code_hashes(modules: Iterable[torch.nn.Module]) -> list[str]:
    """Hashes of the files of ser_hf that define the modules."""
    files = {
        inspect.getsourcefile(type(module))
        for module in modules
        if type(module).__module__.startswith("ser_hf.")
    }
    return [xxhash.xxh3_128_hexdigest(Path(file).read_bytes()) for file in sorted(files)]


def _arithmetic(device: str) -> list[Any]:
    """The settings for float32 products on a device, which change the last digits of results."""
    backends = torch.backends
    precisions = [
        backends.fp32_precision,
        backends.cuda.matmul.fp32_precision,
        backends.cudnn.conv.fp32_precision,
    ]
    return [device, precisions, torch.is_autocast_enabled(device)]


def _digest(tensor: torch.Tensor) -> list[Any]:
    content = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
    return [list(tensor.shape), str(tensor.dtype), xxhash.xxh3_128_hexdigest(content)]


def _collated(collator: Collator, segments: Sequence[Segment]) -> dict[str, torch.Tensor]:
    """The inputs of a model for a batch of segments."""
    return collator([segment._asdict() | {"labels": 0, "max_samples": 0} for segment in segments])


def _build(
    folder: Path,
    model: PreTrainedModel,
    cached: CachedModule,
    collator: Collator,
    segment_batches: Sequence[Sequence[Segment]],
) -> None:
    """Write the activations of the segments, batch by batch."""
    segments = list(itertools.chain.from_iterable(segment_batches))
    loader = DataLoader(
        segment_batches,
        batch_size=None,
        collate_fn=partial(_collated, collator),
        # A separate generator: the training draws the same random numbers with an existing store.
        generator=torch.Generator(),
    )
    frames: list[int] = []
    memory = MemoryLimit()
    content_hash = xxhash.xxh3_128()
    with (
        (folder / "states").open("wb") as file,
        tqdm(total=len(segments), desc="caching frozen features", unit="clip", disable=None) as bar,
    ):
        for batch in loader:
            activations, counts = compute_activations(model, cached, batch)
            for states, count in zip(activations, counts.tolist(), strict=True):
                with np.errstate(over="ignore"):
                    values = states[:, :count].numpy().astype(cached.dtype)
                if not np.isfinite(values).all():
                    raise UserError(
                        f"freeze.cache: {cached.description} of the clip in row "
                        f"{segments[len(frames)].row} exceed the range of {cached.dtype}; "
                        "leave out freeze.cache"
                    )
                content = values.tobytes()
                file.write(content)
                content_hash.update(content)
                frames.append(count)
                bar.update()
            memory.check()
    return_freed_memory()
    np.savez(
        folder / "index.npz",
        states=cached.states,
        size=activations.shape[3],
        dtype=cached.dtype.name,
        segments=np.asarray(segments, dtype=np.int64),
        frames=np.asarray(frames, dtype=np.int64),
        hash=content_hash.hexdigest(),
    )
