"""What stands in for the real engines on a machine with nothing but Python: a broker, a clock, Argo's controller.

For demos and tests only. Nothing here decides anything for the pipeline, and the pipeline decides nothing for it.
"""
