"""What runs a network: LiteRT or ONNX Runtime."""
