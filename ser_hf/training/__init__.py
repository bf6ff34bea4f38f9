"""Training: build, freeze, fit. Imports nothing of the recipe; every function takes plain values."""
