"""Starts a training from a classifier of the Hub whose head transformers does not have.

The heads are those of `loading.heads`. Training starts from the whole classifier, if the recipe
sets no other head and a label is the same; its head is then that of ser_hf with the same layers.
Otherwise training starts from the encoder of the classifier.
"""

import contextlib
import dataclasses
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    PreTrainedConfig,
    SequenceFeatureExtractor,
)

from ..models import PooledEncoderConfig
from ..utils.errors import UserError
from .data_only import data_only, model_commit
from .encoders import ENCODERS, takes_waveforms
from .files import WEIGHTS, find_file, read_table
from .head_networks import Tensors
from .heads import (
    Form,
    PooledHead,
    PublishedFiles,
    describe_outputs,
    named_encoder,
    read_published_files,
    renamed,
)

logger = logging.getLogger(__name__)

# A published tensor (size, 1) that is the weight (1, size) of a linear layer here.
_COLUMN = "pool_model.attention"


@dataclasses.dataclass(frozen=True)
class NamedEncoder:
    """The encoder of a classifier whose configuration only names it.

    Args:
        config: the configuration of the encoder, with the labels of the classifier.
        extractor: the feature extractor of the encoder; None without one.
        revision: the commit of the classifier on the Hub; None for a folder.
    """

    config: PreTrainedConfig
    extractor: SequenceFeatureExtractor | None
    revision: str | None


def read_named_encoder(source: str, revision: str | None) -> NamedEncoder | None:
    """Read the encoder of a baseline of the MSP-Podcast challenges, which `ssl_type` names.

    The result is None for any other model.

    Raises:
        UserError: naming `model.checkpoint`, if the classifier has an unknown form, or if its
            encoder cannot be read.
    """
    if not _names_encoder(source, revision):
        return None
    where = f"model.checkpoint: {source}"
    files = read_published_files(source, where, revision)
    encoder = named_encoder(files.settings, where)
    form = files.form
    if form is None or not form.names_encoder:
        raise UserError(
            f"{where}: a classifier of an unknown form; start from its encoder: "
            f"model.checkpoint={encoder}"
        )
    extractor = None
    with data_only(encoder, where=where, weights=False) as copy:
        config = AutoConfig.from_pretrained(copy.folder, trust_remote_code=False)
        if Path(copy.folder, "preprocessor_config.json").is_file():
            extractor = AutoFeatureExtractor.from_pretrained(copy.folder, trust_remote_code=False)
    if config.model_type not in ENCODERS or not takes_waveforms(config):
        raise UserError(f"{where}: its encoder {encoder} ({config.model_type}) takes no waveforms")
    describe_outputs(config, files.settings, files.shapes[form.output][0], None, where)
    return NamedEncoder(config, extractor, model_commit(source, where, revision))


def _names_encoder(source: str, revision: str | None) -> bool:
    """Whether the configuration of a model names its encoder."""
    try:
        path = find_file(source, "config.json", revision, required=False)
    except OSError:  # there is no such model, of which `data_only` has the message
        return False
    return path is not None and bool(read_table(path).get("ssl_type"))


def published_head_options(source: str, revision: str | None) -> dict[str, Any] | None:
    """The options of `PooledEncoderConfig` for the head of a published classifier.

    The result is None for a classifier without a head of `loading.heads`, and for a head that
    ser_hf does not have, which is logged.

    Raises:
        UserError: naming `model.checkpoint`, if its weights cannot be read.
    """
    files = read_published_files(source, f"model.checkpoint: {source}", revision)
    if files is None or files.form is None:
        return None
    head = _pooled_head(files, files.form)
    if head is not None:
        return head.options
    logger.info(
        "%s: ser_hf has no head with the pooling of this classifier; only its encoder is used",
        source,
    )
    return None


def _pooled_head(files: PublishedFiles, form: Form) -> PooledHead | None:
    """The head as one of ser_hf; None if it has another pooling, or tensors without a place."""
    head = form.pooled_head(files.shapes, files.settings)
    if head is None:
        return None
    prefixes = (*head.prefixes, form.prefix_of_encoder(files.settings.get("model_type")))
    return head if all(name.startswith(prefixes) for name in files.shapes) else None


@contextlib.contextmanager
def training_copy(source: str, config: PreTrainedConfig, revision: str | None) -> Iterator[str]:
    """A temporary folder with the files of a checkpoint, from which `config` is loaded.

    It is a `data_only` copy. Of a published classifier it has the model of ser_hf, if `config` has
    the head of this classifier, or the encoder that its configuration names.

    Raises:
        UserError: naming `model.checkpoint`, if the files cannot be read.
    """
    where = f"model.checkpoint: {source}"
    encoder = read_named_encoder(source, revision)
    files = None
    if encoder is not None or isinstance(config, PooledEncoderConfig):
        files = read_published_files(source, where, revision)
    form = None if files is None else files.form
    head = None if form is None else _pooled_head(files, form)
    if head is not None and not _has_head(config, head):
        head = None

    if encoder is None and head is None:
        with data_only(source, where=where, revision=revision) as copy:
            yield copy.folder
        return
    encoder_config = encoder.config if encoder is not None else _stock_config(source, revision)
    with tempfile.TemporaryDirectory(prefix="ser_hf-model-") as folder:
        if head is None:
            tensors = _encoder_tensors(source, files, form)
            saved_config = encoder_config
        else:
            tensors = _model_tensors(files, form.prefix_of_encoder(encoder_config.model_type), head)
            saved_config = _pooled_config(encoder_config, head.options)
        save_file(tensors, Path(folder, WEIGHTS), {"format": "pt"})
        Path(folder, "config.json").write_text(json.dumps(saved_config.to_dict()), encoding="utf-8")
        yield folder


def _has_head(config: PreTrainedConfig, head: PooledHead) -> bool:
    """Whether a model has the layers of a published head."""
    if not isinstance(config, PooledEncoderConfig):
        return False
    options = {key: getattr(config, key) for key in head.options}
    return options | {"head_layers": list(config.head_layers)} == head.options


def _stock_config(source: str, revision: str | None) -> PreTrainedConfig:
    where = f"model.checkpoint: {source}"
    with data_only(source, where=where, revision=revision, weights=False) as copy:
        return AutoConfig.from_pretrained(copy.folder, trust_remote_code=False)


def _pooled_config(
    encoder_config: PreTrainedConfig, options: Mapping[str, Any]
) -> PooledEncoderConfig:
    """The configuration of a published classifier as a model of ser_hf, with its labels."""
    labels = dict(encoder_config.id2label)
    return PooledEncoderConfig(
        encoder=encoder_config,
        id2label=labels,
        label2id={name: i for i, name in labels.items()},
        **options,
    )


def _encoder_tensors(source: str, files: PublishedFiles, form: Form) -> Tensors:
    """The tensors of the encoder, under their names in the encoder alone."""
    prefix = form.encoder_prefix
    tensors = {}
    left_out = set()
    for name, tensor in files.tensors().items():
        if name.startswith(prefix):
            tensors[renamed(name, {prefix: ""})] = tensor
        else:
            left_out.add(name.partition(".")[0])
    logger.info("%s: only the encoder is loaded; left out: %s", source, ", ".join(sorted(left_out)))
    return tensors


def _model_tensors(files: PublishedFiles, encoder_prefix: str, head: PooledHead) -> Tensors:
    """The tensors of a classifier, under their names in `PooledEncoderForAudioClassification`."""
    prefixes = head.prefixes | {encoder_prefix: "encoder."}
    tensors = {}
    for name, tensor in files.tensors().items():
        if name == _COLUMN:
            tensor = tensor.T.contiguous()
        tensors[renamed(name, prefixes)] = tensor
    return tensors
