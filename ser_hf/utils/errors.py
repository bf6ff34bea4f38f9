"""The one exception that means: what the user gave us is wrong, and here is what to do."""


class UserError(ValueError):
    """A mistake in a recipe, a corpus or a folder: one line naming the file or key and the remedy (exit code 2)."""
