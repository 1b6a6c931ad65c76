"""Two ways of naming the same images, matched one to one so that they agree as often as they can."""

import numpy as np


def match_names(reference: np.ndarray, other: np.ndarray) -> dict[str, str]:
    """Match the names of one partition to those of another: Hungarian method on their contingency table.

    Parameters
    ----------
    reference, other : numpy.ndarray, shape (N,)
        Names of the same images; they are compared as text.

    Returns
    -------
    dict of str to str
        The name in `reference` by the name in `other`. Names that are left over, where one partition has
        more, are not in it.
    """
    from scipy.optimize import linear_sum_assignment

    names, rows = np.unique(np.asarray(reference).astype(str), return_inverse=True)
    others, columns = np.unique(np.asarray(other).astype(str), return_inverse=True)
    table = np.zeros((len(names), len(others)), dtype=np.int64)
    np.add.at(table, (rows, columns), 1)
    pairs = zip(*linear_sum_assignment(table, maximize=True), strict=True)
    return {str(others[column]): str(names[row]) for row, column in pairs}


def matched(reference: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Say of every image whether its two names are matched to each other, see `match_names`.

    Returns
    -------
    numpy.ndarray of bool, shape (N,)
        False too for a name that is matched to none.
    """
    reference, other = np.asarray(reference).astype(str), np.asarray(other).astype(str)
    partner = match_names(reference, other)
    # Looked up by distinct names, of which there are few.
    names, rows = np.unique(other, return_inverse=True)
    # No name in a table of labels is that of nothing: None equals no string.
    partners = np.array([partner.get(name) for name in names.tolist()], dtype=object)
    return np.asarray(partners[rows] == reference.astype(object), dtype=bool)
