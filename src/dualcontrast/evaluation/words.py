"""Numbers into sentences for someone who wants to know whether to believe a run, and what to do next."""

from typing import Any

from dualcontrast.codes import BOTH_CODES
from dualcontrast.errors import RunError
from dualcontrast.evaluation.label_free import label_free_score
from dualcontrast.evaluation.readings import CROSS, LETTER, Level, has_collapsed, lookup, readings

Z_KNOWS_LINEARLY = ("d_score.content.from_transformation", "diagnostics.groups.from_transformation")
Z_KNOWS = (
    *Z_KNOWS_LINEARLY,
    "curved_read_out.content.from_transformation",
    f"{CROSS}content_from_transformation.nonlinear",
)
Z_WEAK = (
    "diagnostics.rotation_readout.from_transformation",
    "diagnostics.swap_consistency.transformation",
)
C_MOVES = (
    "diagnostics.groups.from_content",
    "d_score.transformation.from_content",
    "curved_read_out.transformation.from_content",
    "diagnostics.rotation_readout.from_content",
    "diagnostics.content_invariance",
)


def collapse_sentences(evaluation: dict[str, Any]) -> list[str]:
    """Say of each code whether it has collapsed."""
    found = []
    for code in BOTH_CODES:
        block = lookup(evaluation, f"diagnostics.collapse.{code}")
        if not block:
            continue
        name = f"The {code} code {LETTER[code]}"
        if block["collapsed"]:
            found.append(
                f"{name} has COLLAPSED: {block['why']}. Scores that look good because {LETTER[code]} tells "
                "nothing must not be believed."
            )
        else:
            found.append(f"{name} is alive: {block['why']}.")
    return found


def overall(evaluation: dict[str, Any]) -> tuple[Level, str]:
    """Judge the run as a whole, in one sentence."""
    dead = [LETTER[code] for code in BOTH_CODES if has_collapsed(evaluation, code)]
    if dead:
        return "poor", f"Do not use this run: {' and '.join(dead)} collapsed, so nothing is separated."
    level = {reading.key: reading.level for reading in readings(evaluation)}
    leaks = []
    if "poor" in [level.get(key) for key in Z_KNOWS]:
        leaks.append("z still tells what belongs to c")
    if "poor" in [level.get(key) for key in C_MOVES]:
        leaks.append("c still changes with the state of the image")
    if leaks:
        return "fair", f"The codes are separated only in part: {'; '.join(leaks)}."
    weak = [
        f"{LETTER[code]} {complaint}"
        for key, complaint in (
            ("d_score.{0}.from_{0}", "tells little of its labels"),
            ("diagnostics.swap_consistency.{0}", "is not drawn faithfully by the decoder"),
        )
        for code in BOTH_CODES
        if level[key.format(code)] == "poor"
    ]
    if weak:
        return "fair", f"Both codes are alive and little leaks between them, but {' and '.join(weak)}."
    if "fair" in level.values() or "poor" in level.values():
        return (
            "good",
            "Content and transformation are largely separated; the table shows where something remains.",
        )
    return "good", "Content and transformation are well separated."


def label_free(evaluation: dict[str, Any]) -> list[str]:
    """Say the label-free score and what holds it back; nothing for evaluations of earlier versions."""
    try:
        score = label_free_score(evaluation)
    except RunError:
        return []
    return [
        f"The label-free score is {score.value:.2f}, on a scale from 0 to 1 for runs on the same images "
        f"(`dualcontrast select`). What holds it back: {score.why}."
    ]


def next_steps(evaluation: dict[str, Any], *, volumes: bool) -> list[str]:
    """Say what to try, for a run on images or on volumes, most pressing first; at most four."""
    level = {reading.key: reading.level for reading in readings(evaluation)}

    def any_poor(*keys: str) -> bool:
        return any(level.get(key) == "poor" for key in keys)

    steps = []
    dead = [code for code in BOTH_CODES if has_collapsed(evaluation, code)]
    if "content" in dead and volumes:
        steps.append(
            "If these are noisy subtomograms, c may tell identities although the decoder draws nothing: "
            "`dualcontrast cluster RUN --count K`, then `dualcontrast reclassify RUN`, which sorts by "
            "averages. Believe classes whose averages are far apart (`separation` well above 2)."
        )
    for code in dead:
        steps.append(
            f"Bring {LETTER[code]} back to life: lower the weight of its KL term (`--set "
            f"weights.kl_{code}=0.001`), or train longer. Its traversal shows when it begins to "
            "change the image."
        )
    if any_poor("diagnostics.reconstruction.relative"):
        steps.append(
            "Train longer (`--epochs`): the decoder does not draw the images yet. Of very noisy images "
            "it never "
            "draws more than the signal."
        )
    # What is measured of a dead code is poor for that reason, and says nothing of leaks.
    if any_poor(*C_MOVES) and "content" not in dead:
        steps.append("c moves with the pose: train longer, or raise `--set weights.con_c_positive=…`.")
    if any_poor(*Z_KNOWS_LINEARLY) and not dead:
        steps.append("z knows the content: raise `--set weights.independence=…`, or shorten z.")
    elif any_poor(*Z_KNOWS) and not dead:
        steps.append(
            "z knows the content, in a way that only curved fits see: raise `--set "
            "weights.independence_products=…` (2 is a start), or shorten z."
        )
    if any_poor(*Z_WEAK) and "transformation" not in dead:
        steps.append(
            "z carries little of the pose: raise `--set weights.con_z_negative=…`, or lower "
            "`weights.kl_transformation`. Particles in random poses always have a low rotation read-out."
        )
    if any_poor("d_score.content.from_content"):
        steps.append("c does not tell the labels apart: train longer, lengthen c, or give more images.")
    if steps and evaluation["method"] != "dualcontrast":
        # The weights named above are DualContrast's.
        steps = [f"Compare with `--method dualcontrast`; {evaluation['method']} has other settings than it."]
    if not steps:
        steps.append(
            "Look at the transfer grid: every column should keep one identity, every row one pose. Then "
            "train with `--restarts 3` into another folder: what is real comes back."
        )
    if all(level[f"d_score.content.from_{code}"] == "unknown" for code in BOTH_CODES):
        steps.append(
            "If you know what the particles are, put it in a CSV (columns id and content:NAME) and run "
            "`dualcontrast evaluate RUN --labels FILE --overwrite` for scores against the truth."
        )
    return steps[:4]


def notes(evaluation: dict[str, Any]) -> list[str]:
    """Say what limits the numbers of this evaluation."""
    found = []
    for role, block in evaluation["d_score"].items():
        if any(factor.get("converged") is False for factor in block["factors"]):
            found.append(f"A classifier of the {role} labels did not converge; its score is a lower bound.")
    if any(factor.get("converged") is False for factor in evaluation["clustering"]["factors"]):
        found.append("The clustering did not converge; its scores may change with another --seed.")
    labelled, scored = evaluation["images"].get("labelled", 0), evaluation.get("scored")
    if scored is not None and scored < labelled:
        found.append(
            f"Scores against labels are of a sample of {scored:,} of the {labelled:,} labelled images."
        )
    if not evaluation["diagnostics"]["held_out"]:
        found.append(
            "There are too few held-out images, so the measures without labels include training images."
        )
    return found


def sentences(evaluation: dict[str, Any]) -> list[str]:
    """Say everything in plain sentences: the verdict, the two codes, and every measure that was taken."""
    _, verdict = overall(evaluation)
    measured = [
        f"{reading.title}: {reading.meaning}" for reading in readings(evaluation) if reading.value is not None
    ]
    return [
        verdict,
        *collapse_sentences(evaluation),
        *label_free(evaluation),
        *measured,
        *notes(evaluation),
    ]
