#!/bin/sh
# Makes one target of every client whose tool chain is here, and says plainly which it skips: scripts/clients.sh test
# Where RUNWRIGHT_CI is set, a tool chain that is missing is an error.
set -eu
cd "$(dirname "$0")/.."
target=$1
for each in python:python3 go:go typescript:npm; do
  language=${each%%:*} tool=${each#*:}
  if command -v "$tool" >/dev/null; then
    echo "clients/$language: make $target"
    make --no-print-directory -C "clients/$language" "$target"
  elif [ -n "${RUNWRIGHT_CI:-}" ]; then
    echo "clients/$language: $tool is missing, and this run needs every client" >&2
    exit 1
  else
    echo "clients/$language: SKIPPED $target, because $tool is missing"
  fi
done
