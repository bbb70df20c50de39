"""From decisions to messages, and from calendars to requests."""
