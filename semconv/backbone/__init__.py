"""The language model (backbone): loading, the built-in backbone, code tokens, text vectors and the forward pass."""
