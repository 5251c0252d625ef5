"""The language model (backbone): load one or make the embedded default; its tokenizer, code tokens and forward pass."""
