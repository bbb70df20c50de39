"""Holiday calendars: reading feeds, judging what they say, publishing snapshots."""
