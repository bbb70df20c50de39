"""``python -m peaktime``: the same as the ``peaktime`` command."""

from peaktime.cli import main

main()
