"""``python -m pixloom``."""

from pixloom.cli.app import main

main()
