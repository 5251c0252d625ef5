"""The stages that make the backbone, the behaviour vectors and the text vectors."""
