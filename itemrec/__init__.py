"""itemrec: which product is in this photo, how sure, or none of ours?

The public API, re-exported; no logic lives here. `__all__` is pinned by a test.
"""

from pathlib import Path as _Path

import retrieval as _retrieval

if _Path(_retrieval.__file__).resolve().parent.parent != _Path(__file__).resolve().parent.parent:
    raise ImportError(
        f"itemrec expected its own package `retrieval` beside {_Path(__file__).parent}, "
        f"but Python found another one at {_retrieval.__file__}. "
        "Remove or rename that package, or put itemrec's folder first on the path."
    )

__version__ = "0.1.0"
