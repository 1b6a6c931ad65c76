"""One number for how far to believe a run, from the measures that need no labels."""

from dataclasses import dataclass
from typing import Any

from dualcontrast.errors import RunError
from dualcontrast.evaluation.readings import LETTER, has_collapsed, lookup

# What is said of the parts that are lowest; a part above the bound holds nothing back.
HOLDS_BACK = 0.6
CONTENT_TOLD, CONTENT_ABSENT = "content from c", "content not from z"
STATE_TOLD, STATE_ABSENT = "turn from z", "turn not from c"
WORDS = {
    CONTENT_TOLD: "c puts turned copies into other groups",
    CONTENT_ABSENT: "z tells the groups of c",
    STATE_TOLD: "z does not tell the turn",
    STATE_ABSENT: "c tells the turn",
}


@dataclass(frozen=True)
class LabelFreeScore:
    """How well a run separates content and transformation, as far as that can be seen without labels.

    Attributes
    ----------
    value : float
        From 0 to 1, the mean of the parts; 0 where a code has collapsed.
    parts : dict of str to float
        `content from c`, `content not from z`, `turn from z` and `turn not from c`, from 0 (bad) to 1 (good).
    why : str
        What holds it back, in a few words.
    """

    value: float
    parts: dict[str, float]
    why: str


def label_free_score(evaluation: dict[str, Any]) -> LabelFreeScore:
    """Put the four D_scores together as they are without labels.

    The paper judges a run by what each code tells of content and of transformation (section 4.1). Without
    labels, groups of c stand for the content (`group_scores`), and a known turn of the image for the
    transformation: c should keep its groups when the image is turned, and z should not tell them; the turn
    should be told by the z of the image and of its turned copy, and not by c.

    It ranks runs on the same images. It is no accuracy, and values of other images cannot be compared:
    where images lie in random poses already, as particles do, the turn is told badly from any z.

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
    if not isinstance(found, dict) or "groups" not in found or "relative_readout" not in found:
        raise RunError("the evaluation is of an earlier version; measure again with `evaluate --overwrite`")

    def value(key: str) -> float:
        # What could not be measured of a code that does not vary tells nothing.
        return lookup(found, key) or 0.0

    parts = {
        CONTENT_TOLD: value("groups.from_content"),
        CONTENT_ABSENT: 1 - value("groups.from_transformation"),
        STATE_TOLD: value("relative_readout.from_transformation"),
        STATE_ABSENT: 1 - value("rotation_readout.from_content"),
    }
    dead = [LETTER[code] for code in LETTER if has_collapsed(evaluation, code)]
    if dead:
        return LabelFreeScore(0.0, parts, f"{' and '.join(dead)} collapsed")
    low = sorted((part, name) for name, part in parts.items() if part < HOLDS_BACK)
    why = "; ".join(f"{WORDS[name]} ({part:.2f})" for part, name in low) or "nothing stands out"
    return LabelFreeScore(sum(parts.values()) / len(parts), parts, why)
