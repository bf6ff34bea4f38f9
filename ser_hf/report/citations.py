"""Citations of networks and methods, and the license of a model that follows from its training data."""

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_NAME = r"[A-Z][a-zà-ž][\w'-]*"
# Authors and year in the docstrings of networks, with the title or arXiv number that may follow.
_WORK = re.compile(
    rf"(?P<who>{_NAME}(?:(?:, | and ){_NAME})*(?: et al\.)?) (?P<year>(?:19|20)\d\d)"
    r'(?:,?\s*\(?"(?P<title>[^"]+)"\)?)?(?:,?\s*\(?(?P<arxiv>arXiv:\d{4}\.\d{4,5}))?'
)
# By `model_type` of transformers.
_ENCODERS = {
    "audio-spectrogram-transformer": "Gong et al. 2021, arXiv:2104.01778",
    "data2vec-audio": "Baevski et al. 2022, arXiv:2202.03555",
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
# By the key of a recipe that enables the method.
_METHODS = {
    "model.weighted_layer_sum": "the sum over layers: Yang et al. 2021, arXiv:2105.01051",
    "lora.rank": "LoRA: Hu et al. 2021, arXiv:2106.09685",
    "lora.dora": "DoRA: Liu et al. 2024, arXiv:2402.09353",
    "lora.rslora": "rank-stabilised LoRA: Kalajdzievski 2023, arXiv:2312.03732",
    "freeze.gradual.every": "gradual unfreezing: Howard and Ruder 2018, arXiv:1801.06146",
    "augment.mixup.probability": "mixup: Zhang et al. 2017, arXiv:1710.09412",
    "training.loss.focal_gamma": "focal loss: Lin et al. 2017, arXiv:1708.02002",
    "training.loss.logit_adjustment": "logit adjustment: Menon et al. 2020, arXiv:2007.07314",
}


def network_words(architecture: str) -> tuple[str, str]:
    """The first sentence and the other paragraphs of a network's docstring; both empty for ``encoder``."""
    from ..models import ARCHITECTURES  # imports torch

    if architecture not in ARCHITECTURES:
        return "", ""
    sentence, _, rest = (inspect.getdoc(ARCHITECTURES[architecture]) or "").partition("\n")
    paragraphs = [" ".join(paragraph.split()) for paragraph in rest.split("\n\n")]
    return sentence, "\n\n".join(filter(None, paragraphs))


def linked(text: str) -> str:
    """Text whose arXiv numbers are links, by which the Hub finds the papers of a model."""
    return _ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def works(recipe: Mapping[str, Any], model_type: str) -> list[str]:
    """Citations, one a line, for a network and the special methods of its recipe.

    Args:
        recipe: resolved, the content of recipe.yaml.
        model_type: of the network; of a pooled encoder that of its encoder.
    """
    found = [f"the encoder: {_ENCODERS[model_type]}"] if model_type in _ENCODERS else []
    for match in _WORK.finditer(" ".join(network_words(recipe["model"]["architecture"]))):
        title = match["title"] and f'"{match["title"]}"'
        work = filter(None, [f"{match['who']} {match['year']}", title, match["arxiv"]])
        found.append(f"the network: {', '.join(work)}")
    for key, work in _METHODS.items():
        value: Any = recipe
        for name in key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value:
            found.append(work)
    return found


_LICENSES = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl
lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl openrail++
osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license llama2 llama3 llama3.1 llama3.2
llama3.3 llama4 gemma fair-noncommercial-research-license grok2-community openmdw-1.0 unknown other
"""
LICENSES = frozenset(_LICENSES.split())

# Conditions of data licenses, as far as they are comparable: attribution (by), no commercial use (nc), share alike
# (sa), no derivatives (nd).
_CONDITIONS = {
    **{"cc0-1.0": "", "pddl": "", "unlicense": "", "mit": "by", "apache-2.0": "by", "odc-by": "by"},
    **{"cdla-permissive-1.0": "by", "cdla-permissive-2.0": "by", "odbl": "by sa", "cdla-sharing-1.0": "by sa"},
}
_CREATIVE_COMMONS = re.compile(r"cc-(by(?:-nc)?(?:-sa|-nd)?)-[0-9.]+")


def license_metadata(corpora: Sequence[Mapping[str, Any]], page: str | None = None) -> dict[str, str]:
    """`license` of a model card, with `license_name` and `license_link` if the Hub does not know the license.

    The license of a single corpus becomes the model's. Of several it is the one whose conditions include those of all
    others; if there is none, or one is unknown, it is ``other``, with a name that says whether commercial use is
    forbidden. A corpus that forbids it under a license whose name does not show that is ``other`` too. Empty if no
    license is known.

    Args:
        corpora: from `ser_hf.corpora.corpora_facts`.
        page: address of the model on the Hub, whose card lists all licenses.
    """
    corpora = [{**one, "license": license} for one in corpora for license in _each(one["license"])]
    licenses = [one["license"] for one in corpora]
    if not any(licenses):
        return {}
    conditions = [_conditions(one) for one in corpora]
    if len(corpora) == 1 and (conditions[0] is not None or licenses[0] == "unknown"):
        return {"license": licenses[0]}
    if None not in conditions:
        strictest = set().union(*conditions)
        covering = [license for license, own in zip(licenses, conditions, strict=True) if own == strictest]
        if covering:
            return {"license": max(covering)}  # of two versions the later
    forbidden = any(one["non_commercial"] for one in corpora)
    name, link = "several-licenses", page and f"{page}#training-data"
    if len(corpora) == 1:
        (one,) = corpora
        known = one["license"] in LICENSES
        name, link = one["title"] if known else one["license"], one["url"]
        name = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-") or "unnamed"
        name += "-terms" if known and not forbidden else ""
    name += "-non-commercial" if forbidden and "non-commercial" not in name else ""
    return {"license": "other", "license_name": name} | ({"license_link": link} if link else {})


def _conditions(corpus: Mapping[str, Any]) -> set[str] | None:
    """Conditions of a corpus's license; None if they are unknown, or the license's name does not show all of them."""
    name = corpus["license"]
    if name not in LICENSES or name in ("other", "unknown"):
        return None
    match = _CREATIVE_COMMONS.fullmatch(name)
    found = {*match[1].split("-")} if match else {*_CONDITIONS[name].split()} if name in _CONDITIONS else {name}
    return found if "nc" in found or not corpus["non_commercial"] else None


def _each(license: str | Sequence[str] | None) -> Sequence[str | None]:
    """The facts of several corpora have a list."""
    return license if isinstance(license, list) else [license]


def license_text(license: str | Sequence[str] | None) -> str:
    """The license of one or several corpora, for a sentence."""
    words = {None: "unknown", "other": "its makers' own terms"}
    return ", ".join(words.get(own, own) for own in _each(license))
