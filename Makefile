# A small door before Meson: `make` builds, `make demo` shows it at work, `make check` tests it.
# SPDX-License-Identifier: Apache-2.0
PREFIX  ?= /usr/local
DESTDIR ?=
BUILD   ?= build

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@command -v meson >/dev/null && command -v ninja >/dev/null && command -v musl-gcc >/dev/null || \
		{ echo "make: the build tools are missing; 'make deps' installs them" >&2; exit 1; }
	@meson setup $(BUILD) --prefix $(PREFIX) $(MESON_FLAGS)

# What building and running needs; what the tests need as well; what the peers in bench/ are.
deps:
	@tools/deps build run
deps-check:
	@tools/deps build run test
deps-bench:
	@tools/deps build run test bench

demo: deps
	@$(MAKE) --no-print-directory all
	@tools/demo $(BUILD)

check: deps-check
	@$(MAKE) --no-print-directory all
	@tools/check $(BUILD)

bench: deps-bench
	@$(MAKE) --no-print-directory all
	@bench/run $(BUILD)

install: all
	@meson configure $(BUILD) --prefix $(PREFIX)
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD)

# The same tree with AddressSanitizer and UndefinedBehaviorSanitizer, in build-asan/.
asan:
	@$(MAKE) --no-print-directory BUILD=build-asan \
		MESON_FLAGS="-Db_sanitize=address,undefined -Dbuildtype=debugoptimized -Dwerror=true -Db_lundef=false" all
	@meson test -C build-asan --print-errorlogs

# The machine monitor's threads against each other, with ThreadSanitizer, in build-tsan/.
tsan:
	@$(MAKE) --no-print-directory BUILD=build-tsan \
		MESON_FLAGS="-Db_sanitize=thread -Dbuildtype=debugoptimized -Dwerror=true -Db_lundef=false" \
		build-tsan/build.ninja
	@ninja -C build-tsan tests/unit/test_vmm_threads
	@meson test -C build-tsan --no-rebuild --print-errorlogs vmm_threads

# libFuzzer on every target for SECONDS each (default 20), in build-fuzz/; new inputs are not kept.
fuzz:
	@tools/fuzz $(SECONDS)

lint:
	@tests/lint/run

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

tidy: all
	@git ls-files 'src/*.c' | xargs clang-tidy -p $(BUILD) --quiet

clean:
	@rm -rf $(BUILD) build-asan build-tsan build-fuzz

.PHONY: all deps deps-check deps-bench demo check bench install asan tsan fuzz lint format tidy clean
