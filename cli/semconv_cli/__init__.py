"""semconv's command line: parse, open the project, call one of its methods, print."""
