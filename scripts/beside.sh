#!/usr/bin/env bash
# beside.sh FIRST SECOND: runs two commands at the same time, the first with its output as it comes, that of the second
# in one piece once both are done. Fails if one of them does. Tests wait more than they compute, so two suites side by
# side take hardly longer than the longer one.
set -uo pipefail
log=$(mktemp)
trap 'rm -f "$log"' EXIT
bash -c "$2" >"$log" 2>&1 &
second=$!
trap 'kill "$second" 2>/dev/null; exit 130' INT TERM
bash -c "$1"
first=$?
kill -0 "$second" 2>/dev/null && echo "waiting for: $2"
wait "$second"
code=$?
cat "$log"
[ "$code" -eq 0 ] || echo "failed with $code: $2"
[ "$first" -eq 0 ] || echo "failed with $first: $1"
exit $((first != 0 ? first : code))
