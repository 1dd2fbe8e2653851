#!/usr/bin/env bash
# What it costs to keep the stage's file out of a container's reach (bench/self_copy.c).
# SPDX-License-Identifier: Apache-2.0
set -eu
# shellcheck source=bench/common.sh
. "$(dirname "$0")/common.sh"
gcc -O2 -o "$work/self_copy" "$(dirname "$0")/self_copy.c"
echo "executing proa-stage, with what comes before"
"$work/self_copy" "$build/proa-stage"
