"""The code that computes a job: its program, and exactly those kinds of the catalogue that it uses."""

from collections.abc import Iterable
from functools import cache

from gradleak.code_digest import Use, code_digest
from gradleak.plan import catalogue
from gradleak.plan.catalogue import Kind
from gradleak.plan.jobs.spec import Job


def code_of(job: Job) -> str:
    """Return eight hex digits that identify the code of a job; the run id covers the code of plug-ins."""
    return code_of_kinds(job.KIND, frozenset(job.kinds()))


@cache
def code_of_kinds(program: str, kinds: frozenset[Kind]) -> str:
    """Return the digits of all jobs of a kind that use the same kinds of the catalogue.

    Args:
        program: a key of :data:`gradleak.code_digest.PROGRAMS`.
        kinds: part and name.
    """
    return code_digest(program, uses(kinds))


@cache
def uses(kinds: frozenset[Kind]) -> frozenset[Use]:
    """Return the modules of built-in kinds, and the facts of each kind."""
    entries = []
    for part, name in kinds:
        facts = catalogue.built_in(part).get(name)
        if facts is not None:
            places = [facts.object, *filter(None, [getattr(facts, "images", "")])]
            entries += [(place.partition(":")[0], f"{part} {name} {facts.model_dump_json()}") for place in places]
    return frozenset(entries)


def stamped(jobs: Iterable[Job]) -> set[tuple[str, frozenset[Use]]]:
    """Return the argument of :func:`gradleak.code_digest.tell_jobs` for some jobs."""
    return {(job.KIND, uses(frozenset(job.kinds()))) for job in jobs}
