"""Everything at index and query time. Never imports TensorFlow or Keras."""
