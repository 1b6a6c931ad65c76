"""How well content and transformation are separated, with labels and without."""
