# The paper: hand-written prose and references, generated tables, figures and numbers.

PAPER_SOURCES = sorted(
    str(path) for path in Path("paper").rglob("*") if path.suffix in {".tex", ".bib"}
)


def quoted_view(view):
    """Return the facts about a table or figure for the text."""
    return {
        "kind": view.kind,
        "experiments": list(view.experiments),
        "caption": view.caption,
    }


rule macros:
    input:
        experiments=[paths.experiment(name) for name in GRID.experiments],
        sidecars=[paths.RUN_SIDECAR.format(run=run) for run in GRID.runs],
        modules=shown_modules(
            *(GRID.config.tables[name] for name in GRID.tables),
            *(GRID.config.figures[name] for name in GRID.figures),
        ),
        published="paper/published/ilrg.csv",
        images="paper/published/images.csv",
        rerun="paper/published/rerun.csv",
        template="paper/templates/macros.tex.j2",
    output:
        paths.MACROS,
    log:
        "results/paper/macros.log",
    params:
        draft=GRID.config.draft,
        tables={name: quoted_view(GRID.config.tables[name]) for name in GRID.tables},
        figures={name: quoted_view(GRID.config.figures[name]) for name in GRID.figures},
        labels=labels_for(GRID.experiments),
        policies=GRID.label_policies(GRID.experiments),
    message:
        "Writing the numbers that the text quotes"
    script:
        "../workflow/scripts/build_macros.py"


# Flower is not in the workflow's environment: its simulations were recorded beforehand.
rule recorded:
    input:
        flower="paper/recorded/flower.json",
        table="paper/templates/table.tex.j2",
        macros="paper/templates/macros.tex.j2",
    output:
        "results/paper/recorded.tex",
        "results/paper/flower_audits.tex",
        "results/paper/flower_counters.tex",
    log:
        "results/paper/recorded.log",
    message:
        "Writing what was recorded beforehand"
    script:
        "../workflow/scripts/build_recorded.py"


rule paper:
    input:
        sources=PAPER_SOURCES,
        macros=paths.MACROS,
        recorded=rules.recorded.output,
        tables=[paths.table(name, "tex") for name in GRID.tables],
        figures=[paths.figure(name, "pdf") for name in GRID.figures],
    output:
        report(paths.PAPER, category="Paper", caption="../workflow/report/paper.rst"),
    log:
        "results/paper/latexmk.txt",
    message:
        "Typesetting the paper"
    shell:
        # With a fixed date in the PDF's metadata, equal inputs give equal bytes.
        "export SOURCE_DATE_EPOCH=0 FORCE_SOURCE_DATE=1"
        " TEXINPUTS=.:paper:results/paper:results/tables:results/figures: BIBINPUTS=paper: ;"
        " latexmk -pdf -interaction=nonstopmode -halt-on-error -file-line-error"
        " -outdir=results/paper paper/main.tex > {log} 2>&1"
