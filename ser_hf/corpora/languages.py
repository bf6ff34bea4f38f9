"""Language codes: what recipes may write, and what the Hub accepts on a card."""

import re
from collections.abc import Sequence

# BCP 47: a code of ISO 639, and subtags for script, region and variant.
_TAG = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")


def language_code(text: str) -> str:
    """The BCP 47 code of a language that a user names by its code or its English name.

    ``EN`` and ``English`` are ``en``, and ``en_US`` is ``en-US``.

    Raises:
        ValueError: for a text that is neither.
    """
    text = text.strip()
    if _TAG.fullmatch(text):
        primary, *others = re.split("[-_]", text)
        return "-".join([primary.lower(), *others])

    # Imported here because the import takes seconds, and most recipes have a code.
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    code = TO_LANGUAGE_CODE.get(text.lower())
    if code is None:
        raise ValueError(
            f"expected a language code of BCP 47, such as en, de or pt-BR, got {text!r:.100}"
        )
    return code


def hub_languages(languages: str | Sequence[str] | None) -> list[str]:
    """The codes that a card on the Hub may have for these languages: ISO 639, without subtags."""
    codes = [languages] if isinstance(languages, str) else languages or ()
    return list(dict.fromkeys(code.partition("-")[0].lower() for code in codes))
