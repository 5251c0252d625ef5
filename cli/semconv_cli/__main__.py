"""``python -m semconv_cli`` is the same as ``semconv``."""

from semconv_cli.main import main

main()
