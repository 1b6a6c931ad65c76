"""`dualcontrast explore`: a local web page to look at a run, pick particles, and take them home."""
