"""Everything that learns: draws training data, fits the embedding model, exports a bundle."""
