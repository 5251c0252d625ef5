"""Run ``semconv`` as ``python -m semconv_cli``."""

from semconv_cli.main import main

main()
