"""One number for how far to believe a run, from the measures that need no labels."""

from dataclasses import dataclass
from typing import Any

from dualcontrast.errors import RunError
from dualcontrast.evaluation.readings import LETTER, has_collapsed, lookup

# A part above this holds nothing back.
HOLDS_BACK = 0.7
# Share of a full exchange by which z has to change the decoded image for its silence to count.
USED = 0.05
TOLD, SILENT = "content from c", "content not from z"
WORDS = {TOLD: "c puts turned copies into other groups", SILENT: "z tells the groups of c"}
UNUSED = "the decoder hardly uses z"


@dataclass(frozen=True)
class LabelFreeScore:
    """How well a run separates content from transformation, as far as that can be seen without labels.

    Attributes
    ----------
    value : float
        From 0 to 1, the mean of the parts; 0 where a code has collapsed.
    parts : dict of str to float
        `content from c` and `content not from z`, from 0 (bad) to 1 (good).
    why : str
        What holds it back, in a few words.
    """

    value: float
    parts: dict[str, float]
    why: str


def label_free_score(evaluation: dict[str, Any]) -> LabelFreeScore:
    """Put together what Table 1 of the paper judges by, the content read from c and from z, without labels.

    Groups of c stand for the labels (`group_scores`): c should put an image and its turned copy into the
    same group, and z should not tell the groups. That z is silent counts only as far as the decoder uses z,
    in full from 5 % of a full exchange.

    It ranks runs on the same images. It is no accuracy, and values of other images cannot be compared.

    Parameters
    ----------
    evaluation : dict
        As `evaluate` returns it; only its `diagnostics` are used.

    Raises
    ------
    RunError
        When the evaluation is of an earlier version, which did not measure this.
    """
    found = evaluation.get("diagnostics")
    if not isinstance(found, dict) or "groups" not in found:
        raise RunError("the evaluation is of an earlier version; measure again with `evaluate --overwrite`")
    # What cannot be grouped tells nothing.
    told = lookup(found, "groups.from_content") or 0.0
    heard = lookup(found, "groups.from_transformation") or 0.0
    use = lookup(found, "decoder_use.transformation")
    used = 1.0 if use is None else min(1.0, use / USED)
    parts = {TOLD: told, SILENT: (1 - heard) * used}
    dead = [LETTER[code] for code in LETTER if has_collapsed(evaluation, code)]
    if dead:
        return LabelFreeScore(0.0, parts, f"{' and '.join(dead)} collapsed")
    low = [(told, WORDS[TOLD]), (1 - heard, WORDS[SILENT]), (used, UNUSED)]
    why = [f"{words} ({value:.2f})" for value, words in sorted(low) if value < HOLDS_BACK]
    return LabelFreeScore((told + parts[SILENT]) / 2, parts, "; ".join(why) or "nothing stands out")
