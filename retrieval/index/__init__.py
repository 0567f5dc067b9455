"""The index: one point per catalog image, embedded in this process or on a server."""
