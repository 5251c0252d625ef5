"""The commands, by subject. Each parses its options, calls one method of the project and prints the result."""
