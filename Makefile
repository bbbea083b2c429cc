# Avanta: one Makefile for the whole tree. `make help` lists the targets.
MODE ?= debug
O    := build/$(MODE)
V    ?= 0
Q    := $(if $(filter 1,$(V)),,@)
say   = $(if $(filter 1,$(V)),,@printf '  %-6s %s\n' $(1) $(2);)

# --- flags ---------------------------------------------------------------------
std  := -std=c17 -D_GNU_SOURCE
warn := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes \
        -Wmissing-prototypes -Wmissing-declarations -Wold-style-definition -Wcast-qual -Wcast-align \
        -Wpointer-arith -Wwrite-strings -Wformat=2 -Wundef -Wvla -Walloca -Wfloat-equal -Wswitch-enum \
        -Wimplicit-fallthrough -Wnull-dereference -Wdouble-promotion -Wredundant-decls \
        -Wnested-externs -Wdate-time -Werror
warn.gcc   := -Wformat-signedness -Wlogical-op -Wduplicated-cond -Wduplicated-branches \
              -Warith-conversion -Wjump-misses-init
warn.clang := -Wcomma -Wassign-enum -Wconditional-uninitialized -Wunreachable-code-aggressive \
              -Wmissing-variable-declarations
ifeq ($(MODE),fuzz)
CC := clang
endif
ifeq ($(origin CC),default)
CC := gcc
endif
family := $(if $(findstring clang,$(CC)),clang,gcc)

opt.debug   := -O0 -g3
opt.release := -O2 -g -fno-strict-aliasing -D_FORTIFY_SOURCE=2 -fstack-protector-strong \
               -fstack-clash-protection -fcf-protection -fPIE
opt.asan    := -O1 -g3 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
opt.tsan    := -O1 -g3 -fsanitize=thread -fno-omit-frame-pointer
opt.cov     := -O0 -g3 --coverage
opt.fuzz    := -O1 -g3 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
link.release := -pie -Wl,-z,relro,-z,now
packages := libuv libnats libpq protobuf-c libjwt libcrypto yajl libargon2 libutf8proc
pkg.cflags := $(shell pkg-config --cflags $(packages) 2>/dev/null | sed 's/-I/-isystem /g') \
              -isystem /usr/include/postgresql -isystem /usr/share/include/llhttp
LDLIBS   := $(shell pkg-config --libs $(packages) 2>/dev/null) -lpthread -lm
CPPFLAGS := -I. -isystem build/gen
CFLAGS   := $(std) $(warn) $(warn.$(family)) $(opt.$(MODE)) $(pkg.cflags)
LDFLAGS  := $(opt.$(MODE)) $(link.$(MODE))

all: $(O)/libcommon.a
.DEFAULT_GOAL := all
print-flags: ; @echo $(CPPFLAGS) $(std) $(pkg.cflags)

lib.src := $(wildcard libcommon/*/*.c)
lib.src := $(filter-out libcommon/tools/%,$(lib.src))
lib.obj := $(lib.src:%.c=$(O)/%.o)
objects += $(lib.obj)

# --- generated from proto/ -------------------------------------------------------
G := build/gen
protos   := $(wildcard proto/avanta/*.proto)
pb.src   := $(protos:proto/%.proto=$(G)/%.pb-c.c) $(G)/google/protobuf/descriptor.pb-c.c
pb.obj   := $(pb.src:$(G)/%.c=$(O)/gen/%.o)
generated += $(pb.src)
$(G)/google/protobuf/descriptor.pb-c.c:
	$(call say,PROTO,descriptor.proto)mkdir -p $(G) && protoc -I/usr/include --c_out=$(G) google/protobuf/descriptor.proto
$(G)/avanta/%.pb-c.c: proto/avanta/%.proto proto/avanta/options.proto
	$(call say,PROTO,$<)mkdir -p $(G) && protoc -Iproto -I/usr/include --c_out=$(G) avanta/$*.proto
$(O)/gen/%.o: $(G)/%.c $(O)/flags | $(generated)
	$(call say,CC,$<)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(std) $(opt.$(MODE)) $(pkg.cflags) -w -MMD -MP -c -o $@ $<
$(O)/libproto.a: $(pb.obj)
	$(call say,AR,$@)rm -f $@ && $(AR) rcs $@ $^

$(O)/%.o: %.c $(O)/flags | $(generated)
	$(call say,CC,$<)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
$(O)/libcommon.a: $(lib.obj)
	$(call say,AR,$@)rm -f $@ && $(AR) rcs $@ $^
unit.src := $(wildcard tests/unit/*/test_*.c)
objects  += $(unit.src:%.c=$(O)/%.o)
$(O)/tests/unit/%: $(O)/tests/unit/%.o $(O)/libcommon.a $(O)/libproto.a
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

$(O)/flags: FORCE
	@mkdir -p $(@D); echo '$(CC) $(CPPFLAGS) $(CFLAGS)' | cmp -s - $@ || echo '$(CC) $(CPPFLAGS) $(CFLAGS)' > $@
.SECONDARY:
.DELETE_ON_ERROR:
.PHONY: all FORCE print-flags
-include $(objects:.o=.d)
