"""The works that a model rests on: what its network is, in words, and whom to cite for it."""

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_NAME = r"[A-Z][a-zà-ž][\w'-]*"
# Authors and year as the modules write them, with the title or the number that may follow.
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
# By key of a recipe that asks for it.
_METHODS = {
    "model.weighted_layer_sum": "the sum over layers: Yang et al. 2021, arXiv:2105.01051",
    "lora.rank": "LoRA: Hu et al. 2021, arXiv:2106.09685",
    "lora.dora": "DoRA: Liu et al. 2024, arXiv:2402.09353",
    "lora.rslora": "rank-stabilised LoRA: Kalajdzievski 2023, arXiv:2312.03732",
    "freeze.gradual.every": "gradual unfreezing: Howard and Ruder 2018, arXiv:1801.06146",
    "augment.mixup.probability": "mixup: Zhang et al. 2017, arXiv:1710.09412",
    "training.loss.focal_gamma": "focal loss: Lin et al. 2017, arXiv:1708.02002",
    "training.loss.contrastive_weight": "supervised contrastive loss: Khosla et al. 2020, arXiv:2004.11362",
    "training.loss.logit_adjustment": "logit adjustment: Menon et al. 2020, arXiv:2007.07314",
}


def network_words(architecture: str) -> tuple[str, str]:
    """What the module of one of our networks says of it: a sentence, and what follows it as one paragraph or more.
    Both empty for a name that is none of theirs, such as ``encoder``."""
    module = Path(__file__).parents[1] / "models" / f"modeling_{architecture}.py"
    if not module.is_file():
        return "", ""
    # Read, not imported: the module would load torch.
    sentence, _, rest = (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").partition("\n")
    paragraphs = [" ".join(paragraph.split()) for paragraph in rest.split("\n\n")]
    return sentence, "\n\n".join(filter(None, paragraphs))


def linked(text: str) -> str:
    """Text whose arXiv numbers are links, by which the Hub finds the papers of a model."""
    return _ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def works(recipe: Mapping[str, Any], model_type: str) -> list[str]:
    """Whom to cite for a network and for what its recipe does, a line each; what everybody does is left out.

    Args:
        recipe: resolved, as recipe.yaml holds it.
        model_type: as transformers names the network; of our head on an encoder, the encoder's.
    """
    found = [f"the encoder: {_ENCODERS[model_type]}"] if model_type in _ENCODERS else []
    for match in _WORK.finditer(" ".join(network_words(recipe["model"]["architecture"]))):
        title = match["title"] and f'"{match["title"]}"'
        told = filter(None, [f"{match['who']} {match['year']}", title, match["arxiv"]])
        found.append(f"the network: {', '.join(told)}")
    return found + [work for key, work in _METHODS.items() if _asked(recipe, key)]


def _asked(recipe: Mapping[str, Any], key: str) -> bool:
    """Whether a recipe sets a key to something; older ones may not have it."""
    value: Any = recipe
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return bool(value)
