#!/bin/sh
# Install the Slurm that tests/slurm starts, if it is missing and we may. Never fails: without it those tests skip.
packages="slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge"
if command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null; then
  exit 0
fi
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  exit 0
fi
echo "installing Slurm ($packages)"
apt-get update -qq || true
# shellcheck disable=SC2086 # the list is meant to be split
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null 2>&1 \
  || echo "Slurm could not be installed; its tests will skip" >&2
