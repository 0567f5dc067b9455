"""Models: bundles on disk, the encoders they hold, and where they come from."""
