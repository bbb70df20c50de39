"""The feeds: each reads one kind of source and gives the days it names. None of them judges whether to believe it."""
