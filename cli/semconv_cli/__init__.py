"""Command line of semconv: parse, open the project, call one of its methods, print."""
