"""An index on a Qdrant server or cluster.

address   what a URL names, and what the environment adds (key, gRPC, timeout)
errors    what the client and the network raise, in our terms; what may be tried again
nodes     several addresses of one cluster, of which one is asked
link      the client behind one door: retries with backoff and jitter, errors mapped
layout    how a new collection is laid out, from the number of pictures and nodes
store     one collection as a `retrieval.index.protocols.WritableStore`
lease     one writer at a time, by agreement
collections   what the server holds of an index: a collection a generation, an alias for the live one
build     an index run: in place for the same model, a new collection for a rebuild
index     the facade: readers, writers, going back

``qdrant_client`` is imported only when a server is first asked.
"""

from retrieval.index.server.index import ServerIndex

__all__ = ["ServerIndex"]
