# `make demo` shows a stream flowing; `make test` installs the peers (as root, on Debian) and runs everything.

CARGO ?= cargo
SECONDS_PER_TARGET ?= 300

PREFIX ?= /usr/local
BUILT = $(or $(CARGO_TARGET_DIR),target)/release

.PHONY: demo run test test-fast peers bench bench-traffic bench-reload loss-matrix fault-matrix lint clip fuzz header install

demo:
	$(CARGO) run --release --quiet -p msm-proxy -- demo

run:
	$(CARGO) run --release --quiet -p msm-proxy -- run --config msm.example.yaml

# A missing peer fails here; without root use `make test-fast`, which skips those tests and says how many.
test: peers
	MSM_REQUIRE_PEERS=1 scripts/test.sh

test-fast:
	scripts/test.sh

peers:
	scripts/install-peers.sh

bench:
	$(CARGO) bench -p msm-benches --bench data_plane

# What traffic management costs: a look-up among ten thousand routes, a pick among a thousand endpoints, a session's set-up, a reload.
bench-traffic: bench-reload
	$(CARGO) bench -p msm-benches --bench data_plane -- --only routing,pickers,rate

# What a change of ten thousand routes costs those who read meanwhile.
bench-reload:
	$(CARGO) build --release --quiet -p msm-proxy
	$(CARGO) run --release --quiet -p msm-benches --bin reload

# What protection reaches, in virtual time: the table, its bounds, and the plot.
loss-matrix:
	$(CARGO) run --release --quiet -p msm-benches --bin loss_matrix -- --svg docs/loss-matrix.svg

# What fifty readers see of what happens to endpoints: real servers and players between network namespaces; needs root.
fault-matrix: peers
	MSM_REQUIRE_PEERS=1 MSM_FAULTS=all $(CARGO) test -p msm-proxy --all-features --test peers faults -- --nocapture

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --all-features
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --workspace check bans licenses sources; \
	else echo "SKIPPED: cargo-deny is not installed (cargo install cargo-deny --version 0.20.2 --locked)"; fi

# The proxy, and the library for C and C++. STATIC_LIBRARY and PROGRAM name what was built already.
install:
ifeq ($(STATIC_LIBRARY),)
	$(CARGO) build --release -p msm-ffi -p msm-proxy
endif
	scripts/install.sh "$(PREFIX)" "$(or $(STATIC_LIBRARY),$(BUILT)/libmsm_ffi.a)" "$(or $(PROGRAM),$(BUILT)/msm-proxy)"

# msm.h anew, after a change of what C can call.
header:
	MSM_WRITE_HEADER=1 $(CARGO) test -p msm-ffi --test header

clip:
	scripts/make-clip.sh

fuzz:
	scripts/fuzz.sh $(SECONDS_PER_TARGET)
