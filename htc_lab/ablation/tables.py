"""An ablation's results as Markdown tables: the ladder, and each idea's effect in every combination."""

from collections.abc import Mapping
from typing import Any

from htc_lab.ablation.rung_result import RungResult, common_seeds, gain_words, mean, spread
from htc_lab.ideas import LADDER
from htc_lab.paper import PAPER_MASK_AP, TITLES, title_of
from htc_lab.toggles import BESIDE_THE_LADDER, RUNGS
from htc_lab.wording import signed


def ladder_markdown(rungs: Mapping[str, RungResult]) -> str:
    """The rungs in order, each with its step over the previous one, and the paper's beside them."""
    lines = [
        "| rung | mask AP | step | mask AP75 | box AP | paper: mask AP | step | seconds | M parameters |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    before: str | None = None
    for name, rung in rungs.items():
        step = paper_step = ""
        if before is not None:
            step = signed(mean(rung.mask_ap) - mean(rungs[before].mask_ap))
            paper_step = signed(PAPER_MASK_AP[name] - PAPER_MASK_AP[before])
        cells = (
            TITLES[name],
            spread(rung.mask_ap),
            step,
            f"{_ap75(rung):.1f}",
            spread(rung.box_ap),
            f"{PAPER_MASK_AP[name]}",
            paper_step,
            f"{mean(rung.seconds):.0f}",
            f"{rung.parameters / 1e6:.2f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
        before = name
    return "\n".join(lines)


def combinations(done: Mapping[str, RungResult]) -> dict[str, RungResult]:
    """All combinations of the three ideas, for the seeds they have in common; empty until all are done."""
    names = (*RUNGS, *BESIDE_THE_LADDER)
    if not set(names) <= done.keys():
        return {}
    seeds = common_seeds(done[name] for name in names)
    return {name: done[name].at(seeds) for name in names} if seeds else {}


def effects(done: Mapping[str, RungResult]) -> dict[str, list[float]]:
    """The effect of each idea on mask AP: with it minus without it, mean over the common seeds.

    Empty until all eight combinations of the three ideas are done. Each list has four values: with neither of
    the other two ideas, with the first, with the second, with both.
    """
    mask_ap: dict[tuple[bool, ...], float] = {}
    for rung in combinations(done).values():
        mask_ap[tuple(step.is_on(rung.toggles.ideas) for step in LADDER)] = mean(rung.mask_ap)
    if not mask_ap:
        return {}
    found = {}
    for i, step in enumerate(LADDER):
        pairs = []
        for a, b in ((False, False), (True, False), (False, True), (True, True)):
            others = (a, b)
            off, on = ((*others[:i], value, *others[i:]) for value in (False, True))
            pairs.append(mask_ap[on] - mask_ap[off])
        found[step.key] = pairs
    return found


def effects_markdown(done: Mapping[str, RungResult]) -> str:
    """The eight combinations and each idea's effect; empty until all are done."""
    found = effects(done)
    if not found:
        return ""
    eight = combinations(done)
    seeds = next(iter(eight.values())).seeds
    lines = [
        f"The eight combinations, {'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}:",
        "",
    ]
    lines += ["| combination | mask AP | mask AP75 | box AP |", "|---|---|---|---|"]
    for rung in eight.values():
        cells = (title_of(rung.name), spread(rung.mask_ap), f"{_ap75(rung):.1f}", spread(rung.box_ap))
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "| idea | alone | with the first other | with the second | with both | mean |",
        "|---|---|---|---|---|---|",
    ]
    for idea, pairs in found.items():
        values = [signed(value) for value in (*pairs, mean(pairs))]
        lines.append(f"| {idea.replace('_', ' ')} | {' | '.join(values)} |")
    return "\n".join(lines)


def cost_markdown(
    rungs: Mapping[str, RungResult], gains: Mapping[str, Mapping[str, Any]], costs: Mapping[str, Any]
) -> str:
    """What each rung costs beside what it gains.

    Args:
        rungs: in the ladder's order.
        gains: over the first rung, by rung, an ``Interval`` as a dict; the first rung has none.
        costs: from :func:`htc_lab.ablation.costs.measure_costs`.
    """
    first = next(iter(rungs))
    base, machine = costs["rungs"][first], costs["machine"]
    threads = "one thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
    where = machine["gpu"] if machine["gpu"] != "none" else f"{machine['processor']}, {threads}"
    lines = [
        "| rung | mask AP over the first | M parameters | s per training step | × | ms per test image | × "
        "| GB in training |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, rung in rungs.items():
        cost = costs["rungs"][name]
        cells = (
            TITLES[name],
            gain_words(gains[name]) if name in gains else "",
            f"{rung.parameters / 1e6:.2f}",
            *(
                text
                for key, value in (
                    ("step_seconds", f"{cost['step_seconds']:.2f}"),
                    ("image_seconds", f"{1000 * cost['image_seconds']:.0f}"),
                )
                for text in (value, f"{cost[key] / base[key]:.2f}")
            ),
            f"{cost['peak_gb']:.2f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"Steps of {costs['batch']} pictures; medians of {costs['rounds']} rounds of {costs['steps']} steps "
        f"and {costs['images']} images, taking the rungs in turn, on {where}. Memory is that of the whole "
        "process.",
    ]
    return "\n".join(lines)


def _ap75(rung: RungResult) -> float:
    return mean([s["segm"]["AP75"] for s in rung.statistics])
