"""``peaktime doctor`` and ``peaktime prune``: what peaktime needs, looked at, and said in a line each.

Probes gather, pure functions judge. Must not: change anything, but for the one deletion that ``prune`` was told to do;
know the producers (the command hands their findings in); or show a secret.
"""
