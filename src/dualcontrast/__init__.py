"""Separate what images show (content) from the state it is in (transformation)."""
