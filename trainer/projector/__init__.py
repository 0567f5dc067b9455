"""The embeddings as TensorBoard's Embedding Projector shows them."""
