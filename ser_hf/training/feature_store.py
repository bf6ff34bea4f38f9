"""The store of what is frozen: computed once for each clip, in one memory-mapped file, float16.

A store is a folder `states` (what was kept of all clips, end to end) and `index.npz`. Its name is a hash of what the
numbers follow from: the frozen weights, the code and settings of what computes them, the kind of device and its
arithmetic, the feature extractor's settings, and the clips, each with the piece of it that is heard. So another seed,
another fold of the same protocol and another head open the same store, and a changed weight, release or file makes
another.
"""

import dataclasses
import hashlib
import inspect
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
import xxhash
from datasets import Dataset
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import PreTrainedConfig, PreTrainedModel

from ..models.configuration import AcousticConfig
from ..utils.cache import InUse, built_once, cache_root, format_size, key_of
from ..utils.errors import UserError
from .data import Collator
from .encoders import encoder_config
from .frozen_parts import RANDOM_IN_FRONT_ENDS, FrozenPart, real_inputs, record

logger = logging.getLogger(__name__)

# A piece of a clip: row of the corpus, first sample, samples.
Piece = tuple[int, int, int]

_FORMAT = 2
# A larger store is taken as it is where its size is right; a smaller one is read through in seconds.
_VERIFIED_BYTES = 4e9
_CHUNK = 2**24
_LARGEST = float(np.finfo(np.float16).max)
# Words in the names of settings that change nothing of what is computed in evaluation mode, or nothing below a head.
_IRRELEVANT = ("drop", "mask_", "spec_augment", "label", "classifier", "weighted", "architectures", "version", "name")
_IRRELEVANT += ("dtype", "loss", "initializer", "ctc", "tdnn", "xvector", "codevector", "vocab", "token_id", "warp")
_IRRELEVANT += ("problem_type", "auto_map")
# Those of our front ends that decide what is computed of a waveform; what is made of that, and at random, is not kept.
_OF_FEATURES = {field.name for field in dataclasses.fields(AcousticConfig)}
_OF_FEATURES -= {field.name for field in dataclasses.fields(PreTrainedConfig)}
_OF_FEATURES -= {"features", "deltas", "normalization", "frames", "frame_fit", "n_mfcc", *RANDOM_IN_FRONT_ENDS}
_OF_FEATURES -= {"time_width", "band_width"}
_OF_FEATURES |= {"descriptors", "roll_off", "pitch_min", "pitch_max", "example_hop"}


class FrozenStore:
    """What was kept of pieces of clips: `store[piece]` is a read-only array (states, frames, size).

    Raises:
        OSError, ValueError, ...: if the index cannot be read, or the states are not as many as it says; that they are
            the same is what `verify` looks at.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        with np.load(folder / "index.npz", allow_pickle=False) as index:
            self.states, self.size = int(index["states"]), int(index["size"])
            self.dtype = np.dtype(str(index["dtype"]))
            # The shape of the longest clip's inputs, and of their mask; the latter is empty where they come with none.
            self.inputs: list[int] = index["inputs"].tolist()
            self.mask: list[int] = index["mask"].tolist()
            self._places = {tuple(piece): i for i, piece in enumerate(index["pieces"].tolist())}
            self._offsets, self._frames, self._real = index["offsets"], index["frames"], index["real"]
            self._hash = str(index["hash"])
        announced = int(self._frames.sum()) * self.states * self.size * self.dtype.itemsize
        if self.bytes != announced:
            raise ValueError(f"states has {self.bytes} bytes, and {announced} by the index")
        self._in_use: InUse | None = InUse(folder)
        self._numbers: np.ndarray | None = None

    def verify(self) -> None:
        """Raises a ValueError if the states are not those that were written."""
        hashed = xxhash.xxh3_128()
        with (self.folder / "states").open("rb") as file:
            while chunk := file.read(_CHUNK):
                hashed.update(chunk)
        if hashed.hexdigest() != self._hash:
            raise ValueError("states are not what was written, by their hash")

    def __len__(self) -> int:
        return len(self._places)

    @property
    def bytes(self) -> int:
        return (self.folder / "states").stat().st_size

    def real(self, piece: Piece) -> int:
        """How much of the inputs is the clip's."""
        return int(self._real[self._places[piece]])

    def __getitem__(self, piece: Piece) -> np.ndarray:
        if self._numbers is None:
            self._numbers = np.memmap(self.folder / "states", dtype=self.dtype, mode="r")
        place = self._places[piece]
        frames, begin = int(self._frames[place]), int(self._offsets[place])
        return self._numbers[begin : begin + self.states * frames * self.size].reshape(self.states, frames, self.size)

    def __getstate__(self):
        """Workers that receive a copy map the file themselves rather than receive its content."""
        return self.__dict__ | {"_numbers": None, "_in_use": None}


def open_frozen(
    model: PreTrainedModel,
    part: FrozenPart,
    collator: Collator,
    pieces: Sequence[Piece],
    batch_size: int = 1,
    cache_dir: str | Path | None = None,
) -> tuple[FrozenStore, float]:
    """The store of some pieces of clips, built first where it does not stand, and the seconds that took.

    Processes that want the same store wait for the one that builds it. One that stands is built again where its index
    cannot be read, its size is not what that says or, up to 4 GB, its content is not what was written: a larger one is
    not read through.

    Args:
        model: on the device that is to compute.
        collator: makes the model's inputs of clips.
        pieces: each once.
        batch_size: clips that are computed at once; more than one only where padding changes no answer.
        cache_dir: where stores live (default: see `ser_hf.utils.cache.cache_root`).

    Raises:
        UserError: if the disk has no room for it, or float16 none for a value.
    """
    began = time.perf_counter()
    pieces = sorted(set(pieces), key=lambda piece: (piece[2], piece))
    folder = cache_root(cache_dir) / "frozen" / _key(model, part, collator, pieces)
    with built_once(folder, _check) as fresh:
        if fresh is not None:
            try:
                _build(fresh, folder, model, part, collator, pieces, batch_size)
            except OSError as error:
                raise UserError(
                    f"audio.cache_dir: {folder} cannot be written ({error.strerror or error}); make room, set another "
                    "folder, or leave out freeze.cache"
                ) from error
        else:
            logger.info("cached %s: found at %s", part.told, folder)
    return FrozenStore(folder), time.perf_counter() - began


def _check(folder: Path) -> None:
    """Raises what `FrozenStore` raises of a damaged store."""
    store = FrozenStore(folder)
    if store.bytes <= _VERIFIED_BYTES:
        store.verify()


def _key(model: PreTrainedModel, part: FrozenPart, collator: Collator, pieces: Sequence[Piece]) -> str:
    made_by = [(name, module) for name, module in model.named_modules() if part.made_by(name)]
    described = {
        "format": _FORMAT,
        "kept": [part.kind, part.states, part.module, part.lowest, part.tokens],
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "code": {name: type(module).__qualname__ for name, module in made_by},
        "own_code": _own_code([module for _, module in made_by]),
        "settings": _settings(model, part),
        "arithmetic": _arithmetic(model.device),
        "extractor": {key: repr(value) for key, value in collator.extractor.to_dict().items()},
        "shortest": collator.shortest,
        "tensors": {name: _digest(tensor) for name, tensor in part.tensors(model)},
        "audio": [collator.store.folder.name, collator.store.sampling_rate, list(map(list, pieces))],
    }
    return key_of(described)


def _settings(model: PreTrainedModel, part: FrozenPart) -> dict[str, str]:
    """What the configuration says of how it is computed."""
    config = encoder_config(model.config).to_dict()
    if part.kind == "features":
        own = {key: repr(config[key]) for key in sorted(_OF_FEATURES & config.keys())}
        return own | {"min_frames": repr(model.get_submodule(part.module).short_time.min_frames)}
    own = {key: repr(value) for key, value in config.items() if not any(word in key for word in _IRRELEVANT)}
    # Not among what a configuration saves.
    return own | {"attention": repr(encoder_config(model.config)._attn_implementation)}


def _arithmetic(device: torch.device) -> list:
    """What the last digits of the numbers follow from besides: the kind of device, and how it multiplies float32."""
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
    """A hash of the files of ours that compute what is kept; other libraries have a version."""
    files = {
        inspect.getsourcefile(type(module)) for module in modules if type(module).__module__.startswith("ser_hf.")
    }
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in sorted(files))).hexdigest()


def _build(
    fresh: Path,
    folder: Path,
    model: PreTrainedModel,
    part: FrozenPart,
    collator: Collator,
    pieces: Sequence[Piece],
    batch_size: int,
) -> None:
    dtype = np.dtype(np.float32 if part.single else np.float16)
    _tell_size(folder, dtype, model, part, collator, pieces)
    frames, real, facts, hashed = [], [], {}, xxhash.xxh3_128()
    clips = _clips(pieces)
    was_training = model.training
    with (
        (fresh / "states").open("wb") as file,
        tqdm(total=len(pieces), desc="caching what is frozen", unit="clip", disable=None) as bar,
    ):
        # A generator of its own: whether the store stood already must change nothing that is drawn after.
        for batch in DataLoader(clips, batch_size, collate_fn=collator, generator=torch.Generator()):
            states, counts, inputs, lengths = _computed(model, part, batch)
            mask = list(batch["attention_mask"].shape[1:]) if "attention_mask" in batch else []
            facts = {"inputs": inputs, "mask": np.asarray(mask, dtype=np.int64), "size": states.shape[3]}
            for kept, count, length in zip(states, counts.tolist(), lengths.tolist(), strict=True):
                own = kept[:, :count].contiguous()
                _check_range(own, dtype, part, pieces[len(frames)])
                numbers = own.numpy().astype(dtype).tobytes()
                file.write(numbers)
                hashed.update(numbers)
                frames.append(count)
                real.append(length)
                bar.update()
    model.train(was_training)
    sizes = part.states * np.asarray(frames, dtype=np.int64) * facts["size"]
    written = (fresh / "states").stat().st_size
    if written != int(sizes.sum()) * dtype.itemsize:
        raise RuntimeError(f"{fresh}: {written} bytes were written, and {int(sizes.sum()) * dtype.itemsize} computed")
    np.savez(
        fresh / "index.npz",
        states=part.states,
        dtype=dtype.str,
        pieces=np.asarray(pieces, dtype=np.int64),
        offsets=np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64),
        frames=np.asarray(frames, dtype=np.int64),
        real=np.asarray(real, dtype=np.int64),
        hash=hashed.hexdigest(),
        **facts,
    )


def _clips(pieces: Sequence[Piece]) -> Dataset:
    rows, starts, lengths = np.asarray(pieces, dtype=np.int64).reshape(-1, 3).T
    zeros = np.zeros_like(rows)
    return Dataset.from_dict({"row": rows, "labels": zeros, "start": starts, "length": lengths, "max_samples": zeros})


def _computed(
    model: PreTrainedModel, part: FrozenPart, batch: dict[str, Any]
) -> tuple[torch.Tensor, torch.Tensor, list[int], torch.Tensor]:
    """What is kept of a batch, its frames a clip, the shape of one input, and how much of each input is real."""
    given = {name: value.to(model.device) for name, value in batch.items() if name != "labels"}
    states, counts = record(model, part, given)
    shape = list(given[model.main_input_name].shape[1:])
    return states.float().cpu(), counts.cpu(), shape, real_inputs(model, given).cpu()


def _tell_size(
    folder: Path,
    dtype: np.dtype,
    model: PreTrainedModel,
    part: FrozenPart,
    collator: Collator,
    pieces: Sequence[Piece],
) -> None:
    """Tells how large the store will be, which follows from the frames of its shortest and its longest clip.

    Raises:
        UserError: if the disk has no room for it.
    """
    frames = []
    for piece in (pieces[0], pieces[-1]):
        batch = collator([_clips([piece])[0]])
        states, counts, _, _ = _computed(model, part, batch)
        frames.append(int(counts[0]))
    lengths = np.asarray([piece[2] for piece in pieces])
    all_frames = np.interp(lengths, [lengths[0], max(lengths[-1], lengths[0] + 1)], frames)
    needed = int(all_frames.sum() * part.states * states.shape[3] * dtype.itemsize)
    logger.info(
        "cached %s: %s clips x %d x %.0f frames (mean) x %d numbers = %s in %s at %s",
        *(part.told, f"{len(pieces):,}", part.states, all_frames.mean(), states.shape[3], format_size(needed)),
        *(dtype.name, folder),
    )
    free = shutil.disk_usage(folder.parent).free
    if needed > free:
        raise UserError(
            f"audio.cache_dir: freeze.cache needs {format_size(needed)} at {folder.parent}, where {format_size(free)} "
            "are free; make room, set another folder, or leave out freeze.cache"
        )


def _check_range(states: torch.Tensor, dtype: np.dtype, part: FrozenPart, piece: Piece) -> None:
    """Raises a `UserError` rather than let float16 turn a value into infinity."""
    largest = states.abs().max().item() if states.numel() else 0.0
    if not largest <= (_LARGEST if dtype == np.float16 else np.finfo(np.float32).max):
        raise UserError(
            f"freeze.cache: {part.told} of the clip in row {piece[0]} reach {largest:g}, and the {dtype.name} of the "
            f"cache ends at {np.finfo(dtype).max:g}; leave out freeze.cache"
        )
