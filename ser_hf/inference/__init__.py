"""Predictions of a trained model for recordings: labels, probabilities, logits and embeddings.

`classifier` loads a model, `inputs` finds and decodes recordings, `batches` runs the model,
`outputs` makes tables and files of its outputs, `predict` combines them.
"""
