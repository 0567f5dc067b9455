"""What a training reads: datasets, augmentations, batches, cached features."""
