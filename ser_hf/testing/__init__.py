"""Public helpers for tests: small corpora in official layouts, tiny networks and pretrained encoders.

```python
from ser_hf.testing import CHECKPOINTS, tiny_config, write_checkpoint, write_corpus

write_corpus("ravdess", "/tmp/RAVDESS", speakers=4, takes=2)
write_checkpoint("/tmp/wav2vec2", **CHECKPOINTS["wav2vec2"])
model = ser_hf.models.ARCHITECTURES["crnn"](tiny_config("crnn", labels=4))
```
"""

from .corpora import write_corpus
from .models import CHECKPOINTS, tiny_config, tiny_encoder_config, write_checkpoint

__all__ = ["CHECKPOINTS", "tiny_config", "tiny_encoder_config", "write_checkpoint", "write_corpus"]
