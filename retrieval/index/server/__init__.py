"""An index on a Qdrant server or cluster.

address   what a URL names, and what the environment adds (key, gRPC, timeout)
errors    what the client and the network raise, in our terms; what may be tried again
link      the client behind one door: retries with backoff and jitter, errors mapped
store     one collection as a `retrieval.index.protocols.WritableStore`
lease     one writer at a time, by agreement
build     an index run: in place for the same model, a new collection for a rebuild
index     collections as generations, an alias as the live one

``qdrant_client`` is imported only when a server is first asked.
"""

from retrieval.index.server.index import ServerIndex

__all__ = ["ServerIndex"]
