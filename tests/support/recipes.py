"""Parts of recipes that run in a second."""

TINY_CRNN = {
    "architecture": "crnn",
    "channels": [4],
    "time_pooling": [8],
    "band_pooling": [8],
    "lstm_hidden": 4,
}
