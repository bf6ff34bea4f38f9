"""Whether a corpus may be passed on, by its licence: what is not plainly allowed is refused."""

import re
from collections.abc import Mapping
from typing import Any

from ..errors import UserError

# Corpora whose makers give them to those who ask, or put no licence on them; what each says.
_REFUSED = {
    "emodb": "its release names no licence, only that research may use it",
    "esd": "its makers give it for research, on a signed form",
    "iemocap": "its agreement forbids passing it on",
    "meld": "its recordings belong to the makers of a television series, whatever licence its page names",
    "savee": "its makers ask everybody to register, and not to pass it on",
}
# Corpora of which their user alone knows what they are; a licence in their options is that user's word.
_TOLD = ("audformat", "audiofolder", "csv", "emobox", "hub")
_FREE = {
    *("cc0-1.0", "pddl", "unlicense", "mit", "apache-2.0", "odc-by", "odbl"),
    *("cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0"),
}
_CREATIVE_COMMONS = re.compile(r"cc-by(-nc)?(-sa|-nd)?-[0-9.]+")


def require_right(facts: Mapping[str, Any], original: bool, have_right: bool) -> None:
    """Refuses to pass on what may not be passed on, or not so.

    Args:
        facts: what `ser_hf.corpora.corpus_facts` says of the corpus.
        original: whether its own files are passed on, unchanged.
        have_right: whether the user says that they may pass on a corpus of which they alone know.

    Raises:
        UserError: with why, and what to do.
    """
    name, title, license = facts["name"], facts["title"], facts["license"]
    if name == "mixture":
        raise UserError(
            "corpus: a mixture is several corpora, each with a licence of its own; publish each by itself, and name "
            "them in the mixture's recipe (corpora: [{name: hub, dataset: ...}, ...])"
        )
    if name in _REFUSED:
        source = f"; its users get it from {facts['url']}" if facts["url"] else ""
        raise UserError(f"{title}: not to be published: {_REFUSED[name]}{source}")
    if name in _TOLD:
        if not have_right:
            raise UserError(
                f"{title}: only you can know whether it may be passed on, and whether its speakers agreed; say so "
                "with --i-have-the-right, and under which licence with license=..."
            )
        return
    if license not in _FREE and not _CREATIVE_COMMONS.fullmatch(license or ""):
        raise UserError(f"{title}: not to be published: its licence, {license}, is none that plainly allows it")
    if "-nd-" in license and not original:
        raise UserError(
            f"{title}: its licence, {license}, forbids passing on what is changed, and resampled audio is; publish "
            "the files as they are, with --original"
        )
