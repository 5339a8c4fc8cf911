#!/usr/bin/env bash
# Run all quick tests: scripts/test.sh [options of pytest]
set -euo pipefail
# shellcheck source=scripts/setup_env.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"

cd "$repo"
exec python -m pytest -rs "$@"
