"""The index in a directory: Qdrant's engine in this process.

engine          what the engine raises, in our terms
store           one open shard as a `retrieval.index.protocols.WritableStore`
private_copy    a generation opened where nobody may write
place           what lies where in the directory, which generation is committed, the two locks
copy            a generation copied before it is changed
build_record    whether an interrupted build can be continued
build_store     a build as a store: reads go to the committed generation until something is written
retention       generations: going live, listing, going back, removing
build           an index run
optimize_child  the engine's optimizer, run as a process of its own
index           the facade: readers, writers, going back

A query imports ``index``, ``place``, ``store`` and ``engine`` alone.
"""
