"""The costs of a configuration as plain text and as CSV."""

import pandas as pd

from gradleak.plan.cost.costs import DONE, MISSING, OUTDATED, Costs, Planned
from gradleak.plan.cost.estimates import BASES, FAIR

ALL = "all, shared runs once"


def experiments_table(costs: Costs) -> pd.DataFrame:
    """Return runs per experiment, by state; the last row counts a run once that several experiments share."""
    runs = [job for job in costs.jobs if job.experiments]
    names = dict.fromkeys(name for job in runs for name in job.experiments)
    groups = {name: [job for job in runs if name in job.experiments] for name in names}
    return pd.DataFrame([{"experiment": name, **_counts(jobs)} for name, jobs in (groups | {ALL: runs}).items()])


def rules_table(costs: Costs) -> pd.DataFrame:
    """Return jobs and hours per rule; columns after ``by`` count the jobs to do by what their estimates rest on."""
    rules = dict.fromkeys(job.rule for job in costs.jobs)
    groups = {rule: [job for job in costs.jobs if job.rule == rule] for rule in rules}
    rows = []
    for rule, jobs in (groups | {"all": list(costs.jobs)}).items():
        bases = [job.estimate.basis for job in jobs if job.state != DONE]
        rows.append({"rule": rule, **_counts(jobs), "by": "|", **{basis: bases.count(basis) for basis in BASES}})
    return pd.DataFrame(rows)


def jobs_table(costs: Costs) -> pd.DataFrame:
    """Return a row per job, for a CSV; seconds are empty where there is no basis."""
    return pd.DataFrame(
        [
            {
                "rule": job.rule,
                "job": job.name,
                "experiments": " ".join(job.experiments),
                "state": job.state,
                "seconds": round(job.estimate.seconds, 1),
                "basis": job.estimate.basis,
            }
            for job in costs.jobs
        ]
    )


def text(costs: Costs, cores: int) -> str:
    """Return what ``make plan`` prints."""
    used: list[str] = [basis for basis in BASES if any(job.estimate.basis == basis for job in costs.to_do)]
    parts = [_plain(experiments_table(costs)), _plain(rules_table(costs))]
    parts.append("\n".join(f"{basis}: {BASES[basis]}" for basis in used))
    parts.append(_sum(costs, cores))
    return "\n\n".join(part for part in parts if part)


def _counts(jobs: list[Planned]) -> dict[str, object]:
    states = [job.state for job in jobs]
    to_do = [job for job in jobs if job.state != DONE]
    fair = [job for job in to_do if job.estimate.basis in FAIR]
    # No number where there is nothing to make one of.
    hours = sum(job.fair_seconds for job in fair) / 3600 if fair or not to_do else float("nan")
    counts = {state: states.count(state) for state in (DONE, OUTDATED, MISSING)}
    return {"jobs": len(jobs), **counts, "hours": hours, "not in hours": len(to_do) - len(fair)}


def _plain(table: pd.DataFrame) -> str:
    first = table.columns[0]
    # Names to the left, as one reads them; pandas sets all columns to the right.
    width = max(len(first), *table[first].str.len())
    left = table.assign(**{first: table[first].str.ljust(width)}).rename(columns={first: first.ljust(width)})
    return left.to_string(index=False, float_format=lambda hours: f"{hours:.2f}", na_rep="-")


def _sum(costs: Costs, cores: int) -> str:
    """What there is to do, and what the estimates rest on."""
    to_do = costs.to_do
    past = f"{costs.past} timed jobs on {costs.device}" if costs.past else "no timed jobs"
    lines = [f"{past} under results/" + (f"; {costs.left_out} more cannot be read" if costs.left_out else "")]
    fair = sum(job.estimate.basis in FAIR for job in to_do)
    if not to_do:
        lines.append("nothing to do but what keeps no times")
    elif not fair:
        lines.append(f"{len(to_do)} jobs to do; no estimate")
    else:
        alone, together = costs.hours_on(1), costs.hours_on(cores)
        hours = f"{alone:.2f} h one after another, at least {together:.2f} h on {cores} cores"
        lines.append(f"{len(to_do)} jobs to do, {fair} of them with an estimate: {hours}")
    rough = [job.estimate.seconds for job in to_do if job.estimate.basis == "kind"]
    if rough:
        lines.append(f"{len(rough)} more have times of their kind alone, which would make {sum(rough) / 3600:.2f} h")
    lines.append("no times are kept of checks of data, collecting, tables, figures and the paper")
    return "\n".join(lines)
