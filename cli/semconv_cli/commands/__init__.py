"""The commands of semconv, in one module per subject. A command parses its options and calls one method of the project."""
