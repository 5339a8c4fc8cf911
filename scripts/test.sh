#!/usr/bin/env bash
# Run all quick tests, then those on several nodes; or, with options, what they say:
# scripts/test.sh [options of pytest]
set -euo pipefail
# shellcheck source=scripts/setup_env.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"

cd "$repo"
python -m pytest -rs "$@"
if [ $# -eq 0 ]; then
    exec python -m pytest -rs -m "ray and not slow" tests/distributed tests/training/test_runs.py
fi
