"""Structures of the Protein Data Bank, downloaded once from rcsb.org."""

import re
from pathlib import Path

from dualcontrast.data.cache import cache_folder
from dualcontrast.errors import DataError
from dualcontrast.files import atomic_path
from dualcontrast.simulate.structures import STRUCTURE_SUFFIXES, read_atoms

ADDRESS = "https://files.rcsb.org/download/"
TIMEOUT_SECONDS = 30


def is_pdb_id(text: str) -> bool:
    """Tell whether a text is a four-letter id, for example 1kx5."""
    return re.fullmatch(r"[1-9][A-Za-z0-9]{3}", text) is not None


def fetch_structure(pdb_id: str) -> Path:
    """Return the file of a structure from the cache folder, downloaded as mmCIF where it is not there yet.

    Files are kept in `structures` of the data cache (`dualcontrast.data.cache.cache_folder`) by their id, and
    a PDB or mmCIF file put there by hand is taken as it is. RCSB publishes no checksums; a download is kept
    only if it is read as a structure without fault.

    Parameters
    ----------
    pdb_id : str
        Four letters, for example 1kx5; capitals or not.

    Raises
    ------
    DataError
        When the download fails or is no structure; the message names the file to put there by hand.
    """
    import pooch

    pdb_id = pdb_id.lower()
    folder = cache_folder() / "structures"
    for suffix in STRUCTURE_SUFFIXES:
        for path in (folder / f"{pdb_id}{suffix}", folder / f"{pdb_id}{suffix}.gz"):
            if path.is_file():
                return path

    path = folder / f"{pdb_id}.cif.gz"
    with atomic_path(path) as temporary:
        # The suffix tells the format, which the temporary name does not have.
        received = temporary.with_name(f"{temporary.name}.cif.gz")
        try:
            pooch.HTTPDownloader(timeout=TIMEOUT_SECONDS)(f"{ADDRESS}{path.name}", str(received), None)
            read_atoms(received)
            received.replace(temporary)
        except (OSError, ValueError, DataError) as error:
            # Failures of the network carry no errno of this machine, a full disk does.
            if getattr(error, "errno", None):
                raise
            raise DataError(
                f"{pdb_id}: could not be downloaded from {ADDRESS} ({_reason(error)}); "
                f"get it where there is a connection and put it there by hand: {path}"
            ) from None
        finally:
            received.unlink(missing_ok=True)
    return path


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return "there is no such id" if response.status_code == 404 else f"HTTP status {response.status_code}"
    if isinstance(error, DataError):
        return "what came is no structure"
    return "timed out" if "timeout" in type(error).__name__.lower() else "no connection"
