# Overview of the workflow: configuration, rules by stage, and default targets.
from snakemake.utils import min_version

min_version("9.20")


configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/attack.smk"
include: "rules/collect.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/paper.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        deliverables(),
