"""FGVEdit: fine-grained visual knowledge editing of multimodal language models, as a benchmark and a tool."""

from fgvedit.dataset import load_dataset
from fgvedit.util.errors import FGVEditError

__version__ = "0.1.0"
__all__ = ["FGVEditError", "__version__", "load_dataset"]
