"""The pure decisions: values in, values out; no clock, no network, no configuration files."""
