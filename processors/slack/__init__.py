"""Tells people: reads notifications and posts them, to Slack or to the console.

For: one process with one effect, outside the workers. Must not: decide what is told (``peaktime.core.messages`` does),
write any topic but deliveries and dead letters, or commit what was not delivered.
"""
