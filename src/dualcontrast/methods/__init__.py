"""One file a method: its settings, networks and losses."""
