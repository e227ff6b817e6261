"""Which column belongs to which row: the assignment that counts most in all."""

import numpy as np
from numpy.typing import NDArray


def best_assignment(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return for each row of (rows, columns), no more rows than columns, a column of its own, so that the sum is largest.

    Kuhn's Hungarian method by shortest paths (Jonker and Volgenant 1987, Computing 38:325).

    >>> best_assignment(np.array([[5, 4, 0], [6, 1, 0]]))
    array([1, 0])
    """
    rows, columns = counts.shape
    costs = -counts.astype(np.float64)
    of_row, of_column = np.zeros(rows + 1), np.zeros(columns + 1)
    owner = np.full(columns + 1, rows)  # the last column and row are none
    for row in range(rows):
        owner[columns], column = row, columns
        path = np.full(columns, columns)
        far, seen = np.full(columns, np.inf), np.zeros(columns + 1, bool)
        while owner[column] != rows:
            seen[column] = True
            left = ~seen[:columns]
            now = costs[owner[column]] - of_row[owner[column]] - of_column[:columns]
            nearer = left & (now < far)
            far[nearer], path[nearer] = now[nearer], column
            nearest = int(np.where(left, far, np.inf).argmin())
            step = far[nearest]
            of_row[owner[seen]] += step
            of_column[seen] -= step
            far[left] -= step
            column = nearest
        while column != columns:
            owner[column], column = owner[path[column]], path[column]
    found = np.empty(rows, np.int64)
    found[owner[:columns][owner[:columns] < rows]] = np.flatnonzero(owner[:columns] < rows)
    return found
