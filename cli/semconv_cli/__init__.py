"""The command line of semconv. A command parses its options, calls one method of the project and prints the result."""
