"""The store of cached activations: computed once per clip, in one memory-mapped file.

A store is a folder with `states` (the activations of all clips, one after the other) and `index.npz`. Its name is a
hash of everything that the values depend on: frozen weights, code and settings of the modules, the kind of device and
its arithmetic, the settings of the feature extractor, and the segments of the clips. Another seed, fold or head opens
the same store; another weight, release or file makes a new one.
"""

import dataclasses
import hashlib
import inspect
import itertools
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import transformers
import xxhash
from datasets import Dataset
from torch import nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import BatchFeature, PreTrainedConfig, PreTrainedModel

from ..models.configuration import AcousticConfig
from ..utils.cache import InUse, built_once, cache_root, format_size, key_of
from ..utils.errors import UserError
from .data import Collator
from .encoders import encoder_config

logger = logging.getLogger(__name__)

# A segment of a clip: row of the corpus, first sample, samples.
Segment = tuple[int, int, int]
# From a batch: states (batch, states, frames, size), frames (batch,), and lengths of the inputs (batch,).
Compute = Callable[[BatchFeature], tuple[torch.Tensor, torch.Tensor, torch.Tensor]]

_FORMAT = 3
# The content of a larger store is not read to verify it.
_VERIFIED_BYTES = 4e9
# Front ends do this at random during training.
RANDOM_IN_FRONT_ENDS = ("band_warp", "time_stretch", "mix_style", "time_masks", "band_masks")
# Words in the names of settings without effect in evaluation mode, or below a head.
_IRRELEVANT = ("drop", "mask_", "spec_augment", "label", "classifier", "weighted", "architectures", "version", "name")
_IRRELEVANT += ("dtype", "loss", "initializer", "ctc", "tdnn", "xvector", "codevector", "vocab", "token_id", "warp")
_IRRELEVANT += ("problem_type", "auto_map")
# Settings of our front ends that decide what is computed of a waveform before anything random.
_OF_FEATURES = {field.name for field in dataclasses.fields(AcousticConfig)}
_OF_FEATURES -= {field.name for field in dataclasses.fields(PreTrainedConfig)}
_OF_FEATURES -= {"features", "deltas", "normalization", "frames", "frame_fit", "n_mfcc", *RANDOM_IN_FRONT_ENDS}
_OF_FEATURES -= {"time_width", "band_width"}
_OF_FEATURES |= {"descriptors", "roll_off", "pitch_min", "pitch_max", "example_hop"}


@dataclasses.dataclass(frozen=True)
class CachedModule:
    """The frozen module whose output is stored.

    Args:
        kind: ``encoder`` of transformers, ``network`` for the encoder of a transferred network with its front end,
            ``features`` for what a front end computes before anything random.
        description: of the output, for the log.
        module: full name in the model.
        states: tensors (frames, size) per clip.
        tokens: number of leading frames that are stored, 0 for all.
        pooled: whether the module returns one vector per clip.
        dtype: of the stored values.
    """

    kind: str
    description: str
    module: str
    states: int = 1
    tokens: int = 0
    pooled: bool = False
    dtype: str = "float16"

    def contains(self, name: str) -> bool:
        """Whether the output depends on a tensor or module, by its full name."""
        if name.endswith("masked_spec_embed"):  # used in training only, and possibly random
            return False
        modules = (self.module, "front_end") if self.kind == "network" else (self.module,)
        return any(f"{name}.".startswith(f"{module}.") for module in modules)

    def tensors(self, model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
        tensors = itertools.chain(model.named_parameters(), model.named_buffers())
        return ((name, tensor) for name, tensor in tensors if self.contains(name))


class FeatureStore:
    """Stored activations: `store[segment]` is a read-only array (states, frames, size).

    Raises:
        OSError, ValueError, ...: if the index cannot be read or does not match the size of the states.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        with np.load(folder / "index.npz", allow_pickle=False) as index:
            self.states, self.size = int(index["states"]), int(index["size"])
            self.dtype = np.dtype(str(index["dtype"]))
            # Shape of the inputs of the longest clip, and of their mask (empty without one).
            self.inputs: list[int] = index["inputs"].tolist()
            self.mask: list[int] = index["mask"].tolist()
            self._places = {tuple(segment): i for i, segment in enumerate(index["segments"].tolist())}
            self._offsets, self._frames, self._lengths = index["offsets"], index["frames"], index["lengths"]
            self._hash = str(index["hash"])
        expected = int(self._frames.sum()) * self.states * self.size * self.dtype.itemsize
        if self.bytes != expected:
            raise ValueError(f"states has {self.bytes} bytes, the index says {expected}")
        self._in_use: InUse | None = InUse(folder)
        self._values: np.ndarray | None = None

    def verify(self) -> None:
        """Raises a ValueError if the states differ from what was written."""
        with (self.folder / "states").open("rb") as file:
            digest = hashlib.file_digest(file, xxhash.xxh3_128)
        if digest.hexdigest() != self._hash:
            raise ValueError("the hash of states does not match")

    def __len__(self) -> int:
        return len(self._places)

    @property
    def bytes(self) -> int:
        return (self.folder / "states").stat().st_size

    def input_length(self, segment: Segment) -> int:
        """Samples or frames of the input that belong to the clip."""
        return int(self._lengths[self._places[segment]])

    def __getitem__(self, segment: Segment) -> np.ndarray:
        if self._values is None:
            self._values = np.memmap(self.folder / "states", dtype=self.dtype, mode="r")
        place = self._places[segment]
        frames, begin = int(self._frames[place]), int(self._offsets[place])
        return self._values[begin : begin + self.states * frames * self.size].reshape(self.states, frames, self.size)

    def __getstate__(self):
        """Worker processes map the file themselves."""
        return self.__dict__ | {"_values": None, "_in_use": None}


def open_feature_store(
    model: PreTrainedModel,
    cached: CachedModule,
    collator: Collator,
    segments: Sequence[Segment],
    compute: Compute,
    batch_size: int = 1,
    cache_dir: str | Path | None = None,
) -> tuple[FeatureStore, float]:
    """The store of the given segments, built first if necessary, and the seconds that this took.

    One process builds a store and the others wait. A damaged store is built again.

    Args:
        batch_size: clips per batch; more than one only if padding does not change the outputs of the model.

    Raises:
        UserError: if the disk has too little space, or a value exceeds the range of float16.
    """
    began = time.perf_counter()
    segments = sorted(set(segments), key=lambda segment: (segment[2], segment))
    folder = cache_root(cache_dir) / "frozen" / _key(model, cached, collator, segments)
    was_training = model.training
    with built_once(folder, _check) as fresh:
        if fresh is None:
            logger.info("cached %s: found at %s", cached.description, folder)
        else:
            try:
                _check_space(folder, cached, collator, segments, compute)
                _build(fresh, cached, collator, segments, compute, batch_size)
            except OSError as error:
                raise UserError(
                    f"audio.cache_dir: {folder} cannot be written ({error.strerror or error}); make room, set another "
                    "folder, or leave out freeze.cache"
                ) from error
    model.train(was_training)
    return FeatureStore(folder), time.perf_counter() - began


def _check(folder: Path) -> None:
    store = FeatureStore(folder)
    if store.bytes <= _VERIFIED_BYTES:
        store.verify()


def _key(model: PreTrainedModel, cached: CachedModule, collator: Collator, segments: Sequence[Segment]) -> str:
    modules = [(name, module) for name, module in model.named_modules() if cached.contains(name)]
    return key_of(
        {
            "format": _FORMAT,
            "cached": [cached.kind, cached.states, cached.module, cached.tokens],
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
            "code": {name: type(module).__qualname__ for name, module in modules},
            "own_code": _own_code([module for _, module in modules]),
            "settings": _settings(model, cached),
            "arithmetic": _arithmetic(model.device),
            "extractor": {key: repr(value) for key, value in collator.extractor.to_dict().items()},
            "shortest": collator.shortest,
            "tensors": {name: _digest(tensor) for name, tensor in cached.tensors(model)},
            "audio": [collator.store.folder.name, collator.store.sampling_rate, list(map(list, segments))],
        }
    )


def _settings(model: PreTrainedModel, cached: CachedModule) -> dict[str, str]:
    config = encoder_config(model.config)
    values = config.to_dict()
    if cached.kind == "features":
        own = {key: repr(values[key]) for key in sorted(_OF_FEATURES & values.keys())}
        return own | {"min_frames": repr(model.get_submodule(cached.module).short_time.min_frames)}
    own = {key: repr(value) for key, value in values.items() if not any(word in key for word in _IRRELEVANT)}
    return own | {"attention": repr(config._attn_implementation)}  # not part of a saved configuration


def _arithmetic(device: torch.device) -> list:
    """The kind of device and how it multiplies float32, which decide the last digits."""
    backends = torch.backends
    precision = [backends.fp32_precision, backends.cuda.matmul.fp32_precision, backends.cudnn.conv.fp32_precision]
    return [device.type, precision, torch.is_autocast_enabled(device.type)]


def _digest(tensor: torch.Tensor) -> list:
    numbers = tensor.detach().cpu().contiguous()
    return [
        list(numbers.shape),
        str(numbers.dtype),
        xxhash.xxh3_128_hexdigest(numbers.view(-1).view(torch.uint8).numpy()),
    ]


def _own_code(modules: Sequence[torch.nn.Module]) -> str:
    """A hash of the files of this package that define the modules; other libraries have a version."""
    files = {
        inspect.getsourcefile(type(module)) for module in modules if type(module).__module__.startswith("ser_hf.")
    }
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in sorted(files))).hexdigest()


def _build(
    fresh: Path,
    cached: CachedModule,
    collator: Collator,
    segments: Sequence[Segment],
    compute: Compute,
    batch_size: int,
) -> None:
    dtype = np.dtype(cached.dtype)
    frames, lengths, facts, hashed = [], [], {}, xxhash.xxh3_128()
    with (
        (fresh / "states").open("wb") as file,
        tqdm(total=len(segments), desc="caching frozen features", unit="clip", disable=None) as bar,
    ):
        # With its own generator: the run draws the same numbers whether the store existed or not.
        clips = DataLoader(_clips(segments), batch_size, collate_fn=collator, generator=torch.Generator())
        for batch in clips:
            states, counts, samples = compute(batch)
            mask = list(batch["attention_mask"].shape[1:]) if "attention_mask" in batch else []
            inputs = next(value for name, value in batch.items() if name.startswith("input_"))
            facts = {"inputs": list(inputs.shape[1:]), "mask": np.asarray(mask, dtype=np.int64)}
            facts["size"] = states.shape[3]
            for own, count in zip(states, counts.tolist(), strict=True):
                values = own[:, :count].contiguous()
                _check_range(values, dtype, cached, segments[len(frames)])
                content = values.numpy().astype(dtype).tobytes()
                file.write(content)
                hashed.update(content)
                frames.append(count)
                bar.update()
            lengths += samples.tolist()
    sizes = cached.states * np.asarray(frames, dtype=np.int64) * facts["size"]
    written, computed = (fresh / "states").stat().st_size, int(sizes.sum()) * dtype.itemsize
    if written != computed:
        raise RuntimeError(f"{fresh}: {written} bytes were written, and {computed} computed")
    np.savez(
        fresh / "index.npz",
        states=cached.states,
        dtype=dtype.str,
        segments=np.asarray(segments, dtype=np.int64),
        offsets=np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64),
        frames=np.asarray(frames, dtype=np.int64),
        lengths=np.asarray(lengths, dtype=np.int64),
        hash=hashed.hexdigest(),
        **facts,
    )


def _clips(segments: Sequence[Segment]) -> Dataset:
    rows, starts, lengths = np.asarray(segments, dtype=np.int64).reshape(-1, 3).T
    zeros = np.zeros_like(rows)
    return Dataset.from_dict({"row": rows, "labels": zeros, "start": starts, "length": lengths, "max_samples": zeros})


def _check_space(
    folder: Path, cached: CachedModule, collator: Collator, segments: Sequence[Segment], compute: Compute
) -> None:
    """Logs the size, estimated from the shortest and longest clip, and refuses a disk that is too small."""
    dtype, frames = np.dtype(cached.dtype), []
    for segment in (segments[0], segments[-1]):
        states, counts, _ = compute(collator([_clips([segment])[0]]))
        frames.append(int(counts[0]))
    lengths = np.asarray([segment[2] for segment in segments])
    all_frames = np.interp(lengths, [lengths[0], max(lengths[-1], lengths[0] + 1)], frames)
    needed = int(all_frames.sum() * cached.states * states.shape[3] * dtype.itemsize)
    logger.info(
        "cached %s: %s clips x %d x %.0f frames (mean) x %d values = %s in %s at %s",
        *(cached.description, f"{len(segments):,}", cached.states, all_frames.mean(), states.shape[3]),
        *(format_size(needed), dtype.name, folder),
    )
    free = shutil.disk_usage(folder.parent).free
    if needed > free:
        raise UserError(
            f"audio.cache_dir: freeze.cache needs {format_size(needed)} at {folder.parent}, where {format_size(free)} "
            "are free; make room, set another folder, or leave out freeze.cache"
        )


def _check_range(states: torch.Tensor, dtype: np.dtype, cached: CachedModule, segment: Segment) -> None:
    largest, limit = states.abs().max().item() if states.numel() else 0.0, float(np.finfo(dtype).max)
    if not largest <= limit:
        raise UserError(
            f"freeze.cache: {cached.description} of the clip in row {segment[0]} reach {largest:g}, and the "
            f"{dtype.name} of the cache ends at {limit:g}; leave out freeze.cache"
        )
