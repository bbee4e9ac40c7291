#!/bin/sh
# Install the system packages that the paper needs, if they are missing and we have permission. Never fails: without TeX the
# workflow still makes tables, figures and the HTML report.
packages="latexmk texlive-latex-recommended texlive-fonts-recommended lmodern"
if command -v latexmk >/dev/null && kpsewhich lmodern.sty microtype.sty booktabs.sty natbib.sty >/dev/null; then
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "TeX is missing: install latexmk and TeX Live for the PDF; going on without" >&2
  exit 0
fi
if [ "$(id -u)" = 0 ]; then
  sudo=
elif sudo -n true 2>/dev/null; then
  sudo="sudo -n"
else
  echo "TeX is missing; for the PDF run: sudo apt-get install --no-install-recommends $packages" >&2
  exit 0
fi
echo "installing TeX ($packages)"
$sudo apt-get update -qq
# shellcheck disable=SC2086 # the list is meant to be split
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $packages >/dev/null \
  || echo "TeX could not be installed; going on without the PDF" >&2
