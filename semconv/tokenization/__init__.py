"""Stage one: item vectors, pulled towards the backbone's input space, become codes."""
