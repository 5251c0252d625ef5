"""The language model: load one or make the embedded default, its tokenizer, code tokens and forward pass."""
