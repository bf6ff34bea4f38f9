"""Fine-tune, evaluate and publish speech emotion recognizers on the Hugging Face stack.

`__init__.pyi` lists the public functions, which are imported on first use: `import ser_hf` loads
neither torch nor transformers.
"""

import lazy_loader

from .utils.environment import __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ = ["__version__", *__all__]
