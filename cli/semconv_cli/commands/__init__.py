"""One module a subject; a command parses, calls one method of the Project and prints."""
