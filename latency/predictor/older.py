"""Device files of earlier versions, read as today's: fewer kinds of work, no error of families.

Until the kinds of work told products of matrices and of attention apart, both were `dense`: they
cost what that did, and nothing is added to the bounds.
"""

import copy

from latency.cost_model.work_amounts import COLUMNS, GROUPS, WORK_KINDS
from search_spaces.files.document import Json

NEW = ("products", "attention")
OLDER_KINDS = tuple(kind for kind in WORK_KINDS if kind not in NEW)
OLDER_COLUMNS = [column for column in COLUMNS if column not in NEW]
SAME = 1e-8  # variance of a new kind's log cost beside that of `dense`: a covariance needs some


def migrated(found: Json) -> Json:
    """A device's document as this version writes it; one of this version comes back as it is."""
    sized = found.get("physical")
    if not isinstance(sized, dict) or sized.get("columns") != OLDER_COLUMNS:
        return found
    found = copy.deepcopy(found)
    sized = found["physical"]
    sized |= {"columns": list(COLUMNS), "family": [0.0] * len(GROUPS)}
    prior = sized.get("prior")
    for costs in (sized, prior):
        if isinstance(costs, dict) and isinstance(costs.get("ms_per_unit"), dict):
            costs["ms_per_unit"] |= dict.fromkeys(NEW, costs["ms_per_unit"].get("dense"))
    if isinstance(prior, dict) and _is_square(prior.get("covariance")):
        prior["covariance"] = _with_new(prior["covariance"])
    for row in sized.get("measured") or ():
        if isinstance(row, dict) and isinstance(row.get("amounts"), list):
            row["amounts"][-1:-1] = [0.0] * len(NEW)
    _pad_rows(found.get("model"))
    return found


def _is_square(covariance: object) -> bool:
    count = len(OLDER_KINDS)
    return isinstance(covariance, list) and [len(row) for row in covariance] == [count] * count


def _with_new(covariance: list[list[float]]) -> list[list[float]]:
    """The covariance with the new kinds, which move as `dense` does."""
    dense = OLDER_KINDS.index("dense")
    rows = [[*row, *(row[dense] for _ in NEW)] for row in covariance]
    rows += [list(rows[dense]) for _ in NEW]
    for place in range(len(OLDER_KINDS), len(rows)):
        rows[place][place] += SAME
    return rows


def _pad_rows(model: object) -> None:
    """Rows of a model that sums costs have a column for each direction these move along."""
    if not isinstance(model, dict) or model.get("networks"):
        return
    rows = [model.get("intercept")]
    for named in (model.get("weights") or {}).values():
        rows += list(named.values()) if isinstance(named, dict) else []
    for row in rows:
        if isinstance(row, list) and len(row) == 2 + len(OLDER_KINDS):
            row[-1:-1] = [0.0] * (len(NEW) + len(GROUPS))
