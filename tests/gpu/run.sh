#!/usr/bin/env bash
# Tests and measures the package on a GPU, within eight minutes, and writes a report.
#
#     bash tests/gpu/run.sh [FOLDER]        (default: gpu-report)
#
# On a machine without a GPU everything runs on the CPU at toy size, to try the script itself.
# README.md beside this file says what the machine must have.
set -uo pipefail
report=${1:-gpu-report}
mkdir -p "$report"
report=$(cd "$report" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD

python=${PYTHON:-python3}
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 MPLBACKEND=Agg
if ! "$python" -c "import skorch" 2>/dev/null; then
    site=$(mktemp -d)
    "$python" -m pip install --quiet --no-index --no-deps --target "$site" \
        "${WHEELS:-wheels}"/skorch-*.whl || exit
    export PYTHONPATH=$PYTHONPATH:$site
fi
if "$python" -c "import torch, sys; sys.exit(not torch.cuda.is_available())"; then
    export TEST_DEVICE=cuda
else
    export TEST_DEVICE=cpu
fi
echo "device: $TEST_DEVICE"

# What each step found is in the folder even if a later one is stopped. Measurements come first: once
# tests.txt is there, other processes may use the device.
status=0
timeout 200 "$python" tests/gpu/measure.py "$report/measurements.md" || status=1
timeout 200 "$python" -m pytest -q -p no:cacheprovider tests/gpu 2>&1 |
    tee "$report/tests.txt" || status=1
# The CUDA tests of the suite; on the CPU they are skipped.
timeout 60 "$python" -m pytest -q -p no:cacheprovider -rs -k cuda \
    tests/test_classifier_sklearn.py tests/test_sgmcmc.py tests/test_laplace.py 2>&1 |
    tee "$report/suite.txt" || status=1
exit $status
