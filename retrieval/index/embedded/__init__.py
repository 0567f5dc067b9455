"""The index in a directory: Qdrant's engine in this process."""
