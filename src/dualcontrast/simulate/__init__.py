"""Data sets made by this package, whose content and transformation are known."""
