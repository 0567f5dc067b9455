"""itemrec: which product is in this photo, how sure, or none of ours?

The public API, re-exported; no logic lives here. `__all__` is pinned by a test.
"""

import sys as _sys
from os.path import basename as _basename

from itemrec import _siblings

# `retrieval` is all that a library needs at once; `trainer` is asked for by what trains, `cli` by the command, so that
# a program with a `trainer/` or `cli/` of its own can recognize photos. The command comes through here before it could
# catch an error; it asks for all three by itself (itemrec.__main__) and answers without a traceback.
if _basename("".join(_sys.argv[:1])) not in ("-m", "itemrec", "itemrec.exe"):
    _siblings.require("retrieval")

__version__ = "0.1.0"
