#!/usr/bin/env bash
# Runs what needs a GPU, in six minutes at most, and prints one JSON object: the tests marked gpu,
# the benchmarks, decoding on the device and training steps.
#
#   scripts/check_gpu.sh                 in .venv, which is set up if it is not there
#   scripts/check_gpu.sh --wheels DIR    with python3 as it is and wheels for what it lacks: for a
#                                        machine without a network
#   scripts/check_gpu.sh --fetch DIR     downloads these wheels, on a machine with one; PYTHON_VERSION
#                                        is that of the machine with the GPU (3.12)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# what images for deep learning usually lack
lacking=(beartype docstring_parser jsonargparse platformdirs pycocotools tensorboardX typeshed_client)

case "${1:-}" in
--fetch)
    pins=()
    for name in "${lacking[@]}"; do
        pins+=("$(grep -i "^$name==" scripts/constraints.txt)")
    done
    python3 -m pip download --quiet --no-deps --only-binary=:all: --implementation cp \
        --python-version "${PYTHON_VERSION:-3.12}" --platform manylinux_2_28_x86_64 \
        --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
        --dest "${2:?name a folder for the wheels}" "${pins[@]}"
    ;;
--wheels)
    packages=$(mktemp -d)
    trap 'rm -rf "$packages"' EXIT
    python3 -m pip install --quiet --no-index --no-deps --no-compile --target "$packages" \
        "${2:?name the folder of the wheels}"/*.whl
    PYTHONPATH=$packages:$PWD python3 scripts/check_gpu.py
    ;;
*)
    # shellcheck source=scripts/setup_env.sh
    source scripts/setup_env.sh
    python scripts/check_gpu.py
    ;;
esac
