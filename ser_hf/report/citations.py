"""Citations of networks and methods, and the license of a model that follows from its training
data.
"""

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
# {`model_type` of transformers: citation}
_ENCODERS = {
    "audio-spectrogram-transformer": "Gong et al. 2021, arXiv:2104.01778",
    "data2vec-audio": "Baevski et al. 2022, arXiv:2202.03555",
    "ser_emotion2vec": "Ma et al. 2023, arXiv:2312.15185",
    "hubert": "Hsu et al. 2021, arXiv:2106.07447",
    "sew": "Wu et al. 2021, arXiv:2109.06870",
    "sew-d": "Wu et al. 2021, arXiv:2109.06870",
    "unispeech": "Wang et al. 2021, arXiv:2101.07597",
    "unispeech-sat": "Chen et al. 2021, arXiv:2110.05752",
    "wav2vec2": "Baevski et al. 2020, arXiv:2006.11477",
    "wav2vec2-bert": "Seamless Communication 2023, arXiv:2312.05187",
    "wav2vec2-conformer": "Wang et al. 2020, arXiv:2010.05171",
    "wavlm": "Chen et al. 2021, arXiv:2110.13900",
    "whisper": "Radford et al. 2022, arXiv:2212.04356",
}
# {recipe key that enables the method: citation}
_METHODS = {
    "model.weighted_layer_sum": "the sum over layers: Yang et al. 2021, arXiv:2105.01051",
    "lora.rank": "LoRA: Hu et al. 2021, arXiv:2106.09685",
    "lora.dora": "DoRA: Liu et al. 2024, arXiv:2402.09353",
    "lora.rslora": "rank-stabilised LoRA: Kalajdzievski 2023, arXiv:2312.03732",
    "augment.mixup.probability": "mixup: Zhang et al. 2017, arXiv:1710.09412",
    "training.loss.focal_gamma": "focal loss: Lin et al. 2017, arXiv:1708.02002",
}


def network_words(architecture: str) -> tuple[str, str]:
    """The first paragraph, and the other paragraphs, of the docstring of a network.

    Both are empty for ``encoder``.
    """
    from ..models import ARCHITECTURES  # imports torch

    if architecture not in ARCHITECTURES:
        return "", ""
    text = inspect.getdoc(ARCHITECTURES[architecture]) or ""
    sentence, *others = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    return sentence, "\n\n".join(filter(None, others))


def linked(text: str) -> str:
    """Turn arXiv numbers in a text into links, by which the Hub finds a model's papers."""
    return _ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def works(recipe: Mapping[str, Any], model_type: str) -> list[str]:
    """Citations of the encoder and of the methods that a resolved recipe enables.

    Args:
        model_type: the type of the encoder in transformers.
    """
    citations = [f"the encoder: {_ENCODERS[model_type]}"] if model_type in _ENCODERS else []
    for key, work in _METHODS.items():
        value: Any = recipe
        for name in key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value:
            citations.append(work)
    return citations


# License identifiers that the Hub knows.
_LICENSES = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0
bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear
c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0
cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0
cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl
ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1
lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl
openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license llama2
llama3 llama3.1 llama3.2 llama3.3 llama4 gemma fair-noncommercial-research-license grok2-community
openmdw-1.0 unknown other
"""
LICENSES = frozenset(_LICENSES.split())
# The research license of openSMILE covers models that were trained on its features.
OPENSMILE = {"license": "audeering-research", "non_commercial": True}


def license_metadata(
    corpora: Sequence[Mapping[str, Any]], page: str | None = None
) -> dict[str, str]:
    """The license keys of a model card: `license`, and `license_name` and `license_link` if needed.

    If all corpora have the same license, it is the license of the model. The license is ``other``
    if there are several licenses, if the Hub does not know the license, or if the license forbids
    commercial use and its name does not show this. `license_name` then shows whether commercial use
    is forbidden. The result is empty if no license is known.

    Args:
        corpora: facts about the corpora, from `ser_hf.corpora.corpora_facts`.
        page: address of the model on the Hub; its card lists all licenses.
    """
    licenses: list[str | None] = []
    for corpus in corpora:
        licenses += _each(corpus["license"])
    if not any(licenses):
        return {}
    forbidden = any(corpus["non_commercial"] for corpus in corpora)
    if len(set(licenses)) == 1 and _says_enough(licenses[0], forbidden):
        return {"license": licenses[0]}

    if len(licenses) == 1:
        name = _license_name(licenses[0], corpora[0]["title"], forbidden)
        link = corpora[0]["url"]
    else:
        name = "several-licenses"
        link = page and f"{page}#training-data"
    if forbidden:
        name += "-non-commercial"
    metadata = {"license": "other", "license_name": name}
    if link:
        metadata["license_link"] = link
    return metadata


def _says_enough(license: str | None, forbidden: bool) -> bool:
    """Whether the Hub knows the license, and its name shows if commercial use is forbidden."""
    if license not in LICENSES or license == "other":
        return False
    return "-nc" in license or not forbidden


def _license_name(license: str | None, title: str, forbidden: bool) -> str:
    """The `license_name` of the only license; `title` is the title of its corpus."""
    on_hub = license in LICENSES
    name = title if on_hub else license
    name = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-") or "unnamed"
    return f"{name}-terms" if on_hub and not forbidden else name


def _each(license: str | Sequence[str] | None) -> Sequence[str | None]:
    """The licenses as a list, also if there is a single license."""
    return license if isinstance(license, list) else [license]


def license_text(license: str | Sequence[str] | None) -> str:
    """The license, or several licenses, as words for a sentence."""
    words = {None: "unknown", "other": "terms of its authors"}
    return ", ".join(words.get(name, name) for name in _each(license))
