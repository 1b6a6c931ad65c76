"""Comparisons of methods, each made by one command."""
