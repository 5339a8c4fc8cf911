#!/usr/bin/env bash
# Run all quick tests, then those on several nodes; or, with options, what they say:
# scripts/test.sh [options of pytest]
set -euo pipefail
# shellcheck source=scripts/setup_env.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"

cd "$repo"
if [ $# -gt 0 ]; then
    exec python -m pytest -rs "$@"
fi
# a process for each CPU, at most eight; a file stays in one, so that its fixtures are made once
python -m pytest -rs -n auto --maxprocesses 8 --dist loadfile
exec python -m pytest -rs -m "ray and not slow" tests/distributed
