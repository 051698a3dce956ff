"""The command line: it parses, calls, shows, and nothing imports it."""
