"""From what should be to what is: the loop and its clusters."""
