"""`python -m dualcontrast` is the command `dualcontrast`."""

from dualcontrast.cli import main

if __name__ == "__main__":
    main()
