"""Scripts that run where ser_hf is not; `__main__.py` tells. Nothing of ser_hf imports them."""
