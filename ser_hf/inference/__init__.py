"""Predictions of a trained model for recordings: labels, probabilities, logits and embeddings."""
