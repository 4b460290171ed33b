#!/bin/sh
# A decoder layer over the processes that torchrun starts: torchrun.sh [PROCESSES].
# The emulated machine has eight cores; each process takes that of its number.
set -eu
exec torchrun --standalone --nproc-per-node "${1:-2}" \
    -m examples.distributed.tensor_parallel
