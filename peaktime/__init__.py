"""What all parts share, and the command line."""
