"""The command line: parses options, calls the Python API, prints. One file a verb."""

import logging
import os
import sys
from importlib import import_module
from importlib.metadata import version

from cyclopts import App, CycloptsError

from dualcontrast.errors import LostRankError, UserError
from dualcontrast.memory import is_out_of_memory

BAD_INPUT = 2
VERBS = (
    "demo",
    "data",
    "check",
    "simulate",
    "train",
    "encode",
    "evaluate",
    "select",
    "verify",
    "cluster",
    "reclassify",
    "average",
    "decode",
    "traverse",
    "transfer",
    "report",
    "explore",
    "benchmark",
)


def build_app() -> App:
    """Collect the verbs; each module in this folder holds one, and imports nothing heavy until it runs."""
    app = App(
        name="dualcontrast",
        help="Separate what images show (content) from the state it is in (transformation), without labels.",
        version=lambda: version("dualcontrast"),
        result_action="return_value",
    )
    for verb in VERBS:
        module = import_module(f"{__name__}.{verb}")
        if hasattr(module, "app"):
            app.command(module.app)
        else:
            app.command(getattr(module, verb), help_epilogue=module.EXAMPLES)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run one command; bad input ends with one line on standard error and exit code 2."""
    # What the package decides by itself, such as the contrast of volumes, is said on standard error.
    said, handler = logging.getLogger("dualcontrast"), logging.StreamHandler(sys.stderr)
    said.addHandler(handler)
    said.setLevel(logging.INFO)
    try:
        build_app()(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        fail(f"{error} (see `dualcontrast --help`)")
    except LostRankError as error:
        tell(str(error))
        # At once: ending the connections in order may wait for the other process.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(BAD_INPUT)
    except UserError as error:
        fail(str(error))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = next(iter(str(error).splitlines()), "none is left")
        fail(f"not enough memory ({reason}); try --device cpu, or fewer images (--limit)")
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    finally:
        said.removeHandler(handler)


def fail(message: str) -> None:
    """Print one line on standard error and exit with code 2."""
    tell(message)
    sys.exit(BAD_INPUT)


def tell(message: str) -> None:
    """Print an error as one line on standard error."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
