"""The code report in words: what each figure means, its table, and whether it is good.

The page and the terminal print these sections, so that both say the same; neither computes anything. Bounds of
"good" are rules of thumb, said beside the figure. Where chance alone would give a figure, it stands next to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from semconv.reports.section import Grade, Section, count, percent, times

Report = Mapping[str, Any]
PAPER_COLLISIONS = {2: 0.108, 3: 0.0005, 4: 0.0, 5: 0.0}  # CR of the paper's Table 5, its Games data set
_DRIFT = {
    "outgrown_share": "items coded from text that have interactions by now",
    "largest_first_code": "items on the fullest first code",
    "text_error": "distance of new items' text from their codes (from 20 new items on)",
    "train_interactions": "interactions to train on",
}
_AGREE = {
    "title words": "title words in common, of all words of the two",
    "brand": "pairs of the same brand",
    "categories": "categories in common, of all of the two",
}


def sections(report: Report) -> list[Section]:
    """The sections of ``codebook_report`` or ``foreign_report``; those whose figures are absent are left out."""
    made = (_refit, _usage, _reconstruction, _spread, _collisions, _likeness, _text_map)
    return [section for make in made if (section := make(report)) is not None]


def overview(report: Report) -> list[tuple[str, str]]:
    """``(what, how many)``: items and levels."""
    counts = [
        ("items of the code set" if "run_id" in report else "items", report["items"]),
        ("items coded from their text", report.get("items_assigned_since")),
        ("items in the file that the catalogue lacks", report.get("items_not_in_the_catalogue")),
        ("available items without codes, never recommended", report.get("items_without_codes")),
        ("codes an item", len(report["levels"])),
        ("different codes a level", len(report["levels"][0]["counts"])),
    ]
    return [(name, count(value)) for name, value in counts if value is not None]


def _refit(report: Report) -> Section | None:
    refit = report.get("refit")
    if refit is None:
        return None
    rows = [
        (_DRIFT[row["name"]], *(_drift_value(row, key) for key in ("at_fit", "now", "limit")), "yes" if row["is_due"] else "no")
        for row in refit["drift"]
    ]  # fmt: skip
    verdict = (
        "A refit is due; `semconv run --refit` makes vectors, codes and model anew."
        if refit["is_due"]
        else "No refit is due: codes and model still fit the data."
    )
    return Section(
        "refit",
        "Drift since the fit",
        "Codes and model were made from the data of one day. A refit is due when a figure has passed its limit since"
        " (settings, section refit).",
        ("figure", "at the fit", "now", "due above", "due"),
        tuple(rows),
        "poor" if refit["is_due"] else "good",
        verdict,
        tuple(f"Due because {reason}." for reason in refit["reasons"]),
    )


def _drift_value(row: Mapping[str, Any], key: str) -> str:
    value = row[key]
    return count(None if value is None else int(value)) if row["name"] == "train_interactions" else percent(value)


def _usage(report: Report) -> Section:
    levels = report["levels"]
    items = report["items"] + (report.get("items_assigned_since") or 0)
    usable = min(len(levels[0]["counts"]), items)
    evenness = min(level["effective_codes"] / usable for level in levels)
    grade: Grade = "good" if evenness >= 0.5 else "fair" if evenness >= 0.25 else "poor"
    rows = [
        (
            f"{level['level'] + 1}",
            f"{len(level['counts']) - level['dead_codes']} of {len(level['counts'])}",
            count(level["dead_codes"]),
            f"{level['entropy_bits']:.2f}",
            f"{level['effective_codes']:.0f}",
            percent(level["largest_share"]),
        )
        for level in levels
    ]
    return Section(
        "usage",
        "Use of the codes",
        "Each level has a book of codes and every item has one of them. The more codes are in use and the more evenly,"
        " the more a code tells: a level of entropy 7 bits tells as much as 128 codes that are used equally often.",
        ("level", "codes in use", "dead codes", "entropy, bits", "as many as equal codes", "fullest code holds"),
        tuple(rows),
        grade,
        f"The least even level tells as much as {evenness:.0%} of the {usable:,} codes that it could use"
        " (good from 50%, poor below 25%).",
    )


def _reconstruction(report: Report) -> Section | None:
    errors = [level["reconstruction_error"] for level in report["levels"] if "reconstruction_error" in level]
    if not errors:
        return None
    error = report["reconstruction_error"]
    grade: Grade = "good" if error <= 0.2 else "fair" if error <= 0.4 else "poor"
    return Section(
        "reconstruction",
        "Reconstruction error",
        "A code stands for a vector, and an item's codes add up to a guess of its behaviour vector. The error is what the"
        " guess leaves of it: 0% is exact, 100% says nothing. Every further level should lower it.",
        ("", "error"),
        tuple((f"after level {n}", percent(value)) for n, value in enumerate(errors, start=1)),
        grade,
        f"All codes together leave {percent(error)} of an item's vector unexplained (good up to 20%, poor above 40%).",
        ("The errors by level are those before items that shared all codes were moved apart, this one is after.",),
    )


def _spread(report: Report) -> Section | None:
    within, shuffled = report.get("variance_within"), report.get("variance_within_shuffled")
    if not within or not shuffled:
        return None
    ratio = within[0] / shuffled[0] if shuffled[0] else 1.0
    grade: Grade = "good" if ratio <= 0.7 else "fair" if ratio <= 0.9 else "poor"
    rows = zip(within, shuffled, strict=True)
    return Section(
        "spread",
        "Do items that share codes behave alike?",
        "How much of the variance of the behaviour vectors is left among items that share their first codes, and what it"
        " would be if the same codes were dealt out at random. Any codes can be held against others by it, wherever they"
        " come from. It ends near 0% where hardly any item shares its codes.",
        ("levels", "spread within groups", "the same by chance"),
        tuple((f"{n}", percent(own), percent(chance)) for n, (own, chance) in enumerate(rows, start=1)),
        grade,
        f"Items of one first code keep {percent(within[0])} of the variance, by chance {percent(shuffled[0])}"
        " (good up to 0.7 of chance, poor above 0.9).",
    )


def _collisions(report: Report) -> Section | None:
    collisions = report.get("collisions")
    if not collisions:
        return None
    is_fitted = "share_before" in collisions[-1]
    rows = [
        (
            f"{row['levels']}",
            *(percent(row.get(name)) for name in (("share_before", "share_after", "moved_share") if is_fitted else ("share_after",))),
            percent(PAPER_COLLISIONS.get(row["levels"])),
        )
        for row in collisions
    ]  # fmt: skip
    share, moved = (
        report.get("collision_share_now", collisions[-1]["share_after"]),
        collisions[-1].get("moved_share", 0.0),
    )
    grade: Grade = "good" if share == 0 and moved <= 0.05 else "fair" if share <= 0.02 and moved <= 0.2 else "poor"
    verdict = (
        f"Every item has codes of its own, {percent(moved)} of them by a move (good up to 5%, poor above 20%)."
        if share == 0
        else f"{percent(share)} of the items share all their codes with another, so the model cannot tell them apart"
        " (good at none, poor above 2%)."
    )
    moves = "; before, and after such items were moved to free codes nearby" if is_fitted else ""
    head = ("colliding before", "colliding after", "items moved") if is_fitted else ("colliding",)
    return Section(
        "collisions",
        "Collisions",
        f"Items that share all their codes with another item, if the codes had so many levels{moves}. The last column is"
        " what the paper found on its Games data (Table 5).",
        ("levels", *head, "paper, Games"),
        tuple(rows),
        grade,
        verdict,
        tuple(_moved(report)),
    )


def _moved(report: Report) -> Iterator[str]:
    moved = report.get("moved")
    if moved is None:
        return
    if moved["error_after"] is None:
        yield "No item was moved."
        return
    further = moved["error_after"] / moved["error_before"] if moved["error_before"] else float("inf")
    yield (
        f"{report['moved_items']:,} items ({percent(moved['share'])}) were moved. Their codes' error went from"
        f" {percent(moved['error_before'])} to {percent(moved['error_after'])} ({further:.1f} times)."
    )


def _likeness(report: Report) -> Section | None:
    agreement = report["agreement"]
    if not agreement:
        return None
    rows = [
        (_AGREE.get(name, name), *(percent(row[kind]) for kind in ("within", "shuffled", "random")), times(row))
        for name, row in agreement.items()
    ]
    name, best = next(iter(agreement.items()))
    grade: Grade | None = None
    shared = "first two codes" if len(report["levels"]) > 1 else "code"
    verdict = f"No two items share their {shared}, so there is nothing to compare."
    if best["within"] is not None:
        ratio = best["within"] / best["shuffled"] if best["shuffled"] else float("inf")
        grade = "good" if ratio >= 2 else "fair" if ratio >= 1.2 else "poor"
        verdict = (
            f"Items that share their {shared} have {times(best)} times as many {name} in common as by chance"
            " (good from 2, poor below 1.2)."
            if best["shuffled"]
            else f"Items that share their {shared} have {name} in common; by chance there would be none."
        )
    return Section(
        "likeness",
        "Do items that share codes look alike?",
        f"Two items are drawn that share their {shared}, and held against two that would share them if the codes"
        " were dealt out at random, and against any two items.",
        ("", "same codes", "codes dealt at random", "any two items", "times chance"),
        tuple(rows),
        grade,
        verdict,
    )


def _text_map(report: Report) -> Section | None:
    alignment, found = report.get("alignment"), report.get("text_map")
    if alignment is None:
        return None
    state = (
        f"Text pulls the codes with weight {alignment['lambda']:g} (codebook.alignment)."
        if alignment["is_on"]
        else f"Text does not pull the codes: {alignment['why_off']}."
    )
    meaning = (
        "New items have no interactions yet. A linear map, fitted on items that have both, guesses their vector from"
        " their text, and they get the codes nearest to it."
    )
    title = "Codes of new items, from their text"
    if not found:
        none = "Too few items have both text and interactions: new items get no codes and are not recommended."
        return Section("text", title, meaning, grade="poor", verdict=none, notes=(state,))
    chance, hits, r2 = found["most_frequent_code"], found["first_code_agreement"], found["held_out_r2"]
    useful_r2 = report["useful_r2"]
    best = max(found.get("most_frequent_code_behavior_alone", chance), 1e-9)
    ratio = found.get("first_code_agreement_behavior_alone", hits) / best
    grade: Grade = "poor" if r2 < useful_r2 else "good" if ratio >= 2 else "fair"
    return Section(
        "text",
        title,
        meaning,
        ("figure", "value"),
        (
            ("R², share of the vectors' variance that text explains (items held out)", f"{r2:.3f}"),
            ("first code guessed from text is the learned one", percent(hits)),
            ("the same by always naming the most frequent code", percent(chance)),
            *_alone(found),
            ("first codes in use by guesses", f"{found['codes_in_use']} of {found['codes_in_use_learned']}"),
            ("items with text and interactions", count(found["items"])),
            ("first codes in use by items coded from text so far", _new_items(report.get("new_items"))),
            ("those of them that nobody touched yet", _new_items(report.get("untouched_items"))),
        ),
        grade,
        f"Text names the first code of the behaviour {ratio:.1f} times as often as the best blind guess and explains"
        f" {percent(r2)} of the variance (good from 2 times, poor where it explains less than {useful_r2:.0%}).",
        (state,),
    )


def _alone(found: Report) -> Iterator[tuple[str, str]]:
    """Against the code of behaviour alone: a learned vector may hold some of the text already (``shrinkage``)."""
    if "first_code_agreement_behavior_alone" in found:
        hits, chance = found["first_code_agreement_behavior_alone"], found["most_frequent_code_behavior_alone"]
        yield "first code guessed from text is that of the behaviour alone", percent(hits)
        yield "the same by always naming the most frequent of those", percent(chance)


def _new_items(new: Mapping[str, Any] | None) -> str:
    return f"{new['first_codes_in_use']:,} by {new['coded']:,} items" if new and new["coded"] else "none coded so far"
