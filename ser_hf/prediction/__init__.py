"""What a trained model makes of recordings: labels, logits, and embeddings for systems that build on it.

Data walks through the modules in this order: `expert` loads the model, `paths` and `lists` find the `recordings` that
it is to hear, `reading` decodes them chunk by chunk, `hearing` has the model answer in batches, `vectors` takes the
embeddings on the way, `tables` makes rows of it, `files` writes them; `predictions` puts them together.
"""

from .predictions import Predictions, predict

__all__ = ["Predictions", "predict"]
