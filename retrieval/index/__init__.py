"""Indexes: what every one offers, and the two engines that keep them.

commands, hnsw, manifest, payload, sharding   pure: texts, figures and records that both engines share
protocols   what an index, a store and a build offer, whatever engine keeps them
points      what both stores do alike
checks      whether a generation is what it should be
embedded    an index in a directory
server      an index on a Qdrant server
transfer    from place to place, into a file and back
open        where an index lies decides which engine keeps it
"""
