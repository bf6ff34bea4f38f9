"""Publishes models, reports, corpora and demos on the Hugging Face Hub, and verifies them."""
