#!/bin/sh
# Runs a fuzz target for a number of seconds: fuzz/run.sh breaker_ops 60
#
# The layout is cargo-fuzz's, so `cargo fuzz run breaker_ops` works too. This needs no tool beyond the nightly toolchain
# and a C++ compiler: the flags are what cargo-fuzz passes. New inputs go to a scratch folder beside the build; the
# committed seeds are read only. Findings go to fuzz/artifacts.
set -eu
target=${1:?usage: fuzz/run.sh TARGET SECONDS}
seconds=${2:?usage: fuzz/run.sh TARGET SECONDS}
here=$(cd "$(dirname "$0")" && pwd)
build=${FUZZ_TARGET_DIR:-$here/target}
triple=$(rustc +nightly -vV | sed -n 's/^host: //p')

export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address -Cdebug-assertions -Ccodegen-units=1"
cargo +nightly build --release --locked --manifest-path "$here/Cargo.toml" --target-dir "$build" --target "$triple" --bin "$target"

mkdir -p "$build/corpus/$target" "$here/artifacts/$target"
exec "$build/$triple/release/$target" -max_total_time="$seconds" -artifact_prefix="$here/artifacts/$target/" \
    -print_final_stats=1 "$build/corpus/$target" "$here/corpus/$target"
