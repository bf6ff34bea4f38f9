"""The error for mistakes of the user."""

MOST = 300  # characters of a message


class UserError(ValueError):
    """A mistake in a recipe, a corpus or a folder. One line names the file or key and the remedy (exit code 2)."""

    def __init__(self, message: object):
        super().__init__(one_line(str(message)))


def one_line(text: str) -> str:
    """The text with control characters escaped and, if it is longer than `MOST` characters, without its middle: the
    beginning names the key or file, the end the remedy."""
    escaped = "".join(c if c.isprintable() else repr(c)[1:-1] for c in _cut(text))
    return _cut(escaped)


def _cut(text: str) -> str:
    if len(text) <= MOST:
        return text
    # Between words, unless one fills the space.
    head, tail = text[: MOST * 3 // 5], text[-MOST // 3 :]
    return f"{head.rpartition(' ')[0] or head} ... {tail.partition(' ')[2] or tail}"
