#!/usr/bin/env bash
# Find the people in photos: scripts/demo.sh [PHOTO | FOLDER ...] [options of `bottomup predict`]
# Without photos it takes the sample images. The results are in out/, to look at in out/index.html.
set -euo pipefail
# shellcheck source=scripts/setup_env.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup_env.sh"

exec bottomup predict --out out --overwrite "$@"
