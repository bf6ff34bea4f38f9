"""Asserts that no library warns."""

import contextlib
import warnings

# Python hides these by default; pytest shows them.
_HIDDEN = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


@contextlib.contextmanager
def no_warning_of_a_library(caplog):
    """Fails if a library warns in this context, in its log or by `warnings`, as users would see.

    A library that warns once in a process fails the first test only.
    """
    caplog.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        for category in _HIDDEN:
            warnings.simplefilter("ignore", category)
        yield
    messages = [f"{warning.filename}: {warning.message}" for warning in caught]
    for record in caplog.records:
        if record.levelname in ("WARNING", "ERROR") and not record.name.startswith("ser_hf"):
            messages.append(f"{record.name}: {record.getMessage()}")
    assert messages == [], messages
