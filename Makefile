# Thin: Meson and Ninja do the work.  What each word does is in HACKING.md.
BUILD = build
PREFIX = /usr/local
FUZZ_SECONDS = 60

.PHONY: all demo bring-up test install package format tidy fuzz clean

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	tools/install-deps.sh build
	meson setup $(BUILD) --buildtype=release --prefix=$(PREFIX) -Dtests=false

demo: all
	tools/demo.sh $(BUILD)

bring-up: all
	tools/install-deps.sh test
	tools/bring-up.sh $(BUILD)

test:
	tools/test.sh

install: all
	meson install -C $(BUILD) --no-rebuild

package:
	tools/install-deps.sh test
	tools/package.sh $(BUILD)

format:
	tools/format.sh

tidy:
	tools/test.sh clang

fuzz:
	FUZZ_SECONDS=$(FUZZ_SECONDS) tools/test.sh fuzz

clean:
	rm -rf $(BUILD) build-test
