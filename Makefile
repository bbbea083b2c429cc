# Avanta: one Makefile for the whole tree. `make help` lists the targets.
#
## make up           build, start the whole system under .run/ (STATE=dir PORT=n for another stack beside it;
##                   TLS=1 for TLS to PostgreSQL and nats-server)
## make down         stop it cleanly; data stays
## make test         every test, from unit to end to end; installs what is missing
## make check        format, style, headers alone, SQL, both compilers, clang-tidy, generated documents
## make all          the programs of MODE (debug, release, asan, tsan, cov, fuzz) in build/MODE
## make compose-test build the containers, run the end-to-end tests in them, scale, kill a replica under load
## make bench        measure a release stack; prints ratios with the commands
## make cov          run every test counting lines; coverage by folder
## make fuzz         explore with libFuzzer, FUZZ_SECONDS (60) each
## make docs         write docs/reference from the declarations
## make deps         install the Debian packages that are missing
## make format       clang-format everything
## make clean        remove build/
MODE ?= debug
O    := build/$(MODE)
G    := build/gen
H    := build/host
V    ?= 0
Q    := $(if $(filter 1,$(V)),,@)
say   = $(if $(filter 1,$(V)),,@printf '  %-6s %s\n' $(1) $(2);)

export PATH := $(PATH):/usr/sbin:/sbin# nats-server and nginx live there, and a user's PATH lacks it

# --- packages --------------------------------------------------------------------
# One list for every use; deps.lib is what the programs of deps.build need when they run.
deps.build    := gcc make pkg-config libuv1-dev libnats-dev libpq-dev libprotobuf-c-dev protobuf-c-compiler \
                 protobuf-compiler libprotobuf-dev libssl-dev libyajl-dev libargon2-dev libutf8proc-dev \
                 liboath-dev zlib1g-dev node-llhttp python3-zxcvbn
deps.lib      := libuv1 libnats3.4 libpq5 libprotobuf-c1 libssl3 libyajl2 libargon2-1 libutf8proc2 liboath0 zlib1g
deps.postgres := postgresql-15
deps.nats     := nats-server
deps.run      := $(deps.postgres) $(deps.nats) curl jq openssl
deps.test     := clang clang-format clang-tidy libclang-rt-14-dev libcmocka-dev libcurl4-openssl-dev libjansson-dev libjwt-dev
deps.bench    := wrk nginx-light
# A Docker that is there already is kept, wherever it came from.
deps.compose   = debootstrap iproute2 $(if $(shell command -v dockerd),,docker.io) \
                 $(if $(shell docker compose version 2>/dev/null || command -v docker-compose),,docker-compose)
goals     := $(or $(MAKECMDGOALS),all)
for_goals  = $(if $(filter $(1),$(goals)),$(2))
ifeq ($(MAKE_RESTARTS),)
needed := $(call for_goals,all up docs bench deps-build,$(deps.build)) $(call for_goals,up bench,$(deps.run)) \
          $(call for_goals,test check cov fuzz deps compose-test,$(deps.build) $(deps.run) $(deps.test)) \
          $(call for_goals,bench,$(deps.bench)) $(call for_goals,compose-test,$(deps.compose))
needed := $(sort $(needed))
endif
missing    = $(shell dpkg-query -W -f '$${db:Status-Status} $${Package}\n' $(needed) 2>&1 | \
               awk '/^installed /{have[$$2]=1} END{split("$(needed)",want," "); for(i in want) if(!have[want[i]]) printf "%s ",want[i]}')
ifneq ($(needed),)
absent := $(strip $(missing))
ifneq ($(absent),)
$(info Installing Debian packages: $(absent))
sudo := $(if $(filter 0,$(shell id -u)),,sudo)
installed := $(shell ($(sudo) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(sudo) apt-get install -y -qq \
               --no-install-recommends $(absent)) >&2 && echo yes)
ifneq ($(installed),yes)
$(error The packages could not be installed; install them by hand: $(absent))
endif
endif
endif
# For the image build, which installs each list in a layer of its own: print-deps-lib.
print-deps-%: ; @echo $(deps.$*)

# --- flags -----------------------------------------------------------------------
std  := -std=c17 -D_GNU_SOURCE
warn := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes \
        -Wmissing-prototypes -Wmissing-declarations -Wold-style-definition -Wcast-qual -Wcast-align \
        -Wpointer-arith -Wwrite-strings -Wformat=2 -Wundef -Wvla -Walloca -Wfloat-equal -Wswitch-enum \
        -Wimplicit-fallthrough -Wnull-dereference -Wdouble-promotion -Wredundant-decls \
        -Wnested-externs -Wdate-time -Werror
warn.gcc   := -Wformat-signedness -Wlogical-op -Wduplicated-cond -Wduplicated-branches \
              -Warith-conversion -Wjump-misses-init
warn.clang := -Wno-string-conversion -Wcomma -Wassign-enum -Wconditional-uninitialized -Wunreachable-code-aggressive \
              -Wmissing-variable-declarations
ifeq ($(MODE),fuzz)
CC := clang
endif
ifeq ($(origin CC),default)
CC := gcc
endif
family := $(if $(findstring clang,$(CC)),clang,gcc)
HOSTCC ?= gcc
jobs   := $(shell nproc)

opt.debug   := -O0 -g3
opt.release := -O2 -g -fno-strict-aliasing -D_FORTIFY_SOURCE=2 -fstack-protector-strong \
               -fstack-clash-protection -fcf-protection -fPIE
opt.asan    := -O1 -g3 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
opt.tsan    := -O1 -g3 -fsanitize=thread -fno-omit-frame-pointer
opt.cov     := -O0 -g3 --coverage
opt.fuzz    := -O1 -g3 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
link.release := -pie -Wl,-z,relro,-z,now
packages := libuv libnats libpq libprotobuf-c libssl libcrypto yajl libargon2 libutf8proc liboath zlib
pkg.cflags := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(packages) 2>/dev/null)) \
              -isystem /usr/include/postgresql -isystem /usr/share/include/llhttp
LDLIBS   := $(shell pkg-config --libs $(packages) 2>/dev/null) -lpthread
CPPFLAGS := -I. -isystem $(G)
deps     := -MD -MP # -MMD would leave out our headers that generated ones, which count as system's, include first
CFLAGS   := $(std) $(warn) $(warn.$(family)) $(opt.$(MODE)) $(pkg.cflags)
LDFLAGS  := $(opt.$(MODE)) $(link.$(MODE))

.DEFAULT_GOAL := all
print-flags: ; @echo $(CPPFLAGS) $(std) $(pkg.cflags)

# --- generated from proto/ and sql/ -------------------------------------------------
protos   := $(wildcard proto/avanta/*.proto)
pb.src   := $(protos:proto/%.proto=$(G)/%.pb-c.c)
pb.host  := $(G)/google/protobuf/descriptor.pb-c.c
generated += $(pb.src) $(pb.host)
$(pb.host):
	$(call say,PROTO,descriptor.proto)mkdir -p $(G) && protoc -I/usr/include --c_out=$(G) google/protobuf/descriptor.proto
$(G)/avanta/%.pb-c.c: proto/avanta/%.proto proto/avanta/options.proto
	$(call say,PROTO,$<)mkdir -p $(G) && protoc -Iproto -I/usr/include --c_out=$(G) avanta/$*.proto
$(G)/tests/%.pb-c.c: tests/proto/%.proto proto/avanta/options.proto
	$(call say,PROTO,$<)mkdir -p $(G)/tests && protoc -Itests/proto -Iproto -I/usr/include --c_out=$(G)/tests $*.proto
$(G)/api.pb: $(protos)
	$(call say,PROTO,$@)mkdir -p $(G) && protoc -Iproto -I/usr/include --include_imports --descriptor_set_out=$@ $(protos)

apigen := $(H)/apigen
sqlgen := $(H)/sqlgen
tidy   := $(H)/tidy
wordgen := $(H)/wordgen
apigen.src := $(wildcard proto/tools/*.c) libcommon/tools/host.c libcommon/codec/access.c libcommon/base/str.c \
              libcommon/base/err.c $(G)/avanta/options.pb-c.c $(pb.host)
sqlgen.src := $(wildcard libcommon/tools/sqlgen*.c) libcommon/tools/sql_scan.c libcommon/tools/host.c
wordgen.src := libcommon/tools/wordgen.c libcommon/tools/host.c
tidy.src   := $(wildcard libcommon/tools/tidy*.c) libcommon/tools/host.c
host.cc = $(HOSTCC) $(std) $(warn) $(warn.gcc) -O1 -g $(CPPFLAGS) $(pkg.cflags)
$(apigen): $(apigen.src) $(wildcard proto/tools/*.h libcommon/tools/*.h) libcommon/base/err.h \
           libcommon/base/limits.h libcommon/base/money.h libcommon/base/str.h libcommon/codec/api.h libcommon/codec/access.h | $(pb.src)
	$(call say,HOST,$@)mkdir -p $(H) && $(HOSTCC) -w -O1 -I$(G) -c -o $(H)/options.o $(G)/avanta/options.pb-c.c && \
	  $(HOSTCC) -w -O1 -I$(G) -c -o $(H)/descriptor.o $(pb.host) && \
	  $(host.cc) -o $@ $(filter-out $(G)/%,$(filter %.c,$^)) $(H)/options.o $(H)/descriptor.o -lprotobuf-c
$(sqlgen): $(sqlgen.src) $(wildcard libcommon/tools/*.h) libcommon/base/limits.h
	$(call say,HOST,$@)mkdir -p $(H) && $(host.cc) -o $@ $(filter %.c,$^)
$(tidy): $(tidy.src) $(wildcard libcommon/tools/*.h)
	$(call say,HOST,$@)mkdir -p $(H) && $(host.cc) -o $@ $(filter %.c,$^)

$(wordgen): $(wordgen.src) libcommon/tools/host.h
	$(call say,HOST,$@)mkdir -p $(H) && $(host.cc) -o $@ $(filter %.c,$^)

# The list of python3-zxcvbn is data to us: nothing of it is run.
password.list  := /usr/lib/python3/dist-packages/zxcvbn/frequency_lists.py
password.count := 10000
$(G)/passwords.gen.c: $(wordgen) $(password.list)
	$(call say,GEN,$@)mkdir -p $(G) && $(wordgen) passwords $(password.list) $(password.count) $@
generated += $(G)/passwords.gen.c

$(G)/api.gen.h: $(apigen) $(G)/api.pb
	$(call say,GEN,$@)$(apigen) methods-h $(G)/api.pb $@
$(G)/api.gen.c: $(apigen) $(G)/api.pb
	$(call say,GEN,$@)$(apigen) methods-c $(G)/api.pb $@
$(G)/gateway_local.gen.h: $(apigen) $(G)/api.pb
	$(call say,GEN,$@)$(apigen) ops-h $(G)/api.pb $@ gateway
$(G)/gateway_local.gen.c: $(apigen) $(G)/api.pb
	$(call say,GEN,$@)$(apigen) ops-c $(G)/api.pb $@ gateway
version := $(shell sed -n 's/.*AVANTA_VERSION "\(.*\)"/\1/p' libcommon/base/version.h)
$(G)/openapi.json: $(apigen) $(G)/api.pb
	$(call say,GEN,$@)$(apigen) openapi $(G)/api.pb $@ $(version)
$(G)/openapi.gen.c: $(G)/openapi.json
	$(call say,GEN,$@)(echo '#include "gateway/openapi.h"'; echo 'const char openapi_json[] = {'; \
	  od -An -v -tx1 $< | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g'; \
	  echo '0};'; echo 'const size_t openapi_json_bytes = sizeof openapi_json - 1;') > $@.tmp && mv $@.tmp $@
generated += $(G)/openapi.gen.c
generated += $(G)/api.gen.h $(G)/api.gen.c $(G)/gateway_local.gen.h $(G)/gateway_local.gen.c

# --- third party sources that Debian ships as C --------------------------------------
llhttp.obj := $(O)/third/api.o $(O)/third/http.o $(O)/third/llhttp.o
$(O)/third/%.o: /usr/share/llhttp/%.c $(O)/flags
	$(call say,CC,$<)mkdir -p $(@D) && $(CC) -w $(std) $(opt.$(MODE)) -I/usr/share/include/llhttp -c -o $@ $<

# --- libraries -------------------------------------------------------------------------
lib.src := $(filter-out libcommon/tools/%,$(wildcard libcommon/*/*.c))
lib.obj := $(lib.src:%.c=$(O)/%.o)
service.sql := $(wildcard libcommon/service/sql/*.sql)
service.mig := $(wildcard libcommon/service/migrations/*.sql)
lib.gen := $(if $(service.sql),$(O)/gen/service_sql.gen.o $(O)/gen/service_migrations.gen.o)
objects += $(lib.obj)
$(O)/libcommon.a: $(lib.obj) $(llhttp.obj) $(lib.gen)
$(O)/libproto.a: $(pb.src:$(G)/%.c=$(O)/gen/%.o) $(O)/gen/api.gen.o $(pb.host:$(G)/%.c=$(O)/gen/%.o)

# $(1) name with '-', $(2) with '_', $(3) SQL files, $(4) migrations
define sql
$(G)/$(2)_sql.gen.h: $(sqlgen) $(3)
	$$(call say,GEN,$$@)$(sqlgen) queries-h $(1) $$@ $(3)
$(G)/$(2)_sql.gen.c: $(sqlgen) $(3)
	$$(call say,GEN,$$@)$(sqlgen) queries-c $(1) $$@ $(3)
$(G)/$(2)_migrations.gen.h: $(sqlgen) $(4)
	$$(call say,GEN,$$@)$(sqlgen) migrations-h $(1) $$@ $(4)
$(G)/$(2)_migrations.gen.c: $(sqlgen) $(4)
	$$(call say,GEN,$$@)$(sqlgen) migrations-c $(1) $$@ $(4)
generated += $(G)/$(2)_sql.gen.h $(G)/$(2)_sql.gen.c $(G)/$(2)_migrations.gen.h $(G)/$(2)_migrations.gen.c
endef
ifneq ($(service.sql),)
$(eval $(call sql,service,service,$(service.sql),$(service.mig)))
endif

# --- programs: every services/NAME with a main.c, and the gateway -------------------------
services := $(patsubst services/%/main.c,%,$(wildcard services/*/main.c))
stored   := $(filter $(services),$(patsubst services/%/migrations,%,$(wildcard services/*/migrations))) # have a database
gateway  := $(if $(wildcard gateway/main.c),gateway)
programs := $(gateway) $(services)
under     = $(subst -,_,$(1))
define service
$(call sql,$(1),$(call under,$(1)),$(sort $(wildcard services/$(1)/sql/*.sql)),$(sort $(wildcard services/$(1)/migrations/*.sql)))
$(G)/$(call under,$(1))_ops.gen.h: $(apigen) $(G)/api.pb
	$$(call say,GEN,$$@)$(apigen) ops-h $(G)/api.pb $$@ $(1)
$(G)/$(call under,$(1))_ops.gen.c: $(apigen) $(G)/api.pb
	$$(call say,GEN,$$@)$(apigen) ops-c $(G)/api.pb $$@ $(1)
generated += $(G)/$(call under,$(1))_ops.gen.h $(G)/$(call under,$(1))_ops.gen.c
$(1).src := $$(wildcard services/$(1)/*.c)
$(1).obj := $$($(1).src:%.c=$(O)/%.o) $(patsubst %,$(O)/gen/$(call under,$(1))_%.gen.o,ops sql migrations)
objects  += $$($(1).src:%.c=$(O)/%.o)
$(O)/bin/$(1): $$($(1).obj) $(O)/libcommon.a $(O)/libproto.a
endef
define program
$(1).src := $$(wildcard services/$(1)/*.c)
objects  += $$($(1).src:%.c=$(O)/%.o)
$(O)/bin/$(1): $$($(1).src:%.c=$(O)/%.o) $(O)/libcommon.a $(O)/libproto.a
endef
$(foreach s,$(stored),$(eval $(call service,$(s))))
$(foreach s,$(filter-out $(stored),$(services)),$(eval $(call program,$(s))))
$(O)/bin/identity: $(O)/gen/passwords.gen.o
gateway.src := $(wildcard gateway/*.c)
gateway.obj := $(gateway.src:%.c=$(O)/%.o)
objects += $(gateway.obj)
$(O)/libgateway.a: $(filter-out %/main.o,$(gateway.obj)) $(O)/gen/gateway_local.gen.o $(O)/gen/openapi.gen.o
$(O)/bin/gateway: $(gateway.obj) $(O)/gen/gateway_local.gen.o $(O)/gen/openapi.gen.o $(O)/libcommon.a $(O)/libproto.a

all: $(O)/libcommon.a $(O)/libproto.a $(programs:%=$(O)/bin/%)

# Here and not with the tests: what a pattern rule waits for is read with the rule.
testpb.src := $(patsubst tests/proto/%.proto,$(G)/tests/%.pb-c.c,$(filter-out tests/proto/bad_%,$(wildcard tests/proto/*.proto)))
generated  += $(testpb.src)

# --- pattern rules ---------------------------------------------------------------------
$(O)/gen/%.o: $(G)/%.c $(O)/flags | $(generated)
	$(call say,CC,$<)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(std) $(opt.$(MODE)) $(pkg.cflags) -w $(deps) -c -o $@ $<
$(O)/%.o: %.c $(O)/flags | $(generated)
	$(call say,CC,$<)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(CFLAGS) $(deps) -c -o $@ $<
$(O)/%.a:
	$(call say,AR,$@)rm -f $@ && $(AR) rcs $@ $^
$(O)/bin/%:
	$(call say,LD,$@)mkdir -p $(@D) && $(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(O)/flags: FORCE
	@mkdir -p $(@D); echo '$(CC) $(CPPFLAGS) $(CFLAGS) $(deps)' | cmp -s - $@ || echo '$(CC) $(CPPFLAGS) $(CFLAGS) $(deps)' > $@

# Everything of a service but its main: what unit tests of a service link against.
service.dirs := $(patsubst services/%/,%,$(wildcard services/*/))
define service-lib
$(O)/lib$(1).a: $(patsubst %.c,$(O)/%.o,$(filter-out %/main.c,$(wildcard services/$(1)/*.c)))
$(patsubst %.c,$(O)/%,$(wildcard tests/unit/$(1)/test_*.c)): $(O)/lib$(1).a
endef
$(foreach s,$(service.dirs),$(eval $(call service-lib,$(s))))
$(O)/libidentity.a: $(O)/gen/passwords.gen.o

# --- tests -------------------------------------------------------------------------------
unit.src      := $(wildcard tests/unit/*/test_*.c)
component.src := $(wildcard tests/component/test_*.c) $(wildcard tests/model/model_*.c)
e2e.src       := $(wildcard tests/e2e/test_*.c)
test.src      := $(unit.src) $(component.src) $(e2e.src)
compose.src   := tests/compose/test_scale.c
support.obj   := $(patsubst %.c,$(O)/%.o,$(wildcard tests/support/*.c))
objects       += $(test.src:%.c=$(O)/%.o) $(compose.src:%.c=$(O)/%.o) $(support.obj)
$(O)/libtest.a: $(support.obj) $(testpb.src:$(G)/%.c=$(O)/gen/%.o)
$(patsubst %.c,$(O)/%,$(filter tests/unit/gateway/%,$(test.src))): $(O)/libgateway.a
$(patsubst %.c,$(O)/%,$(test.src) $(compose.src)): $(O)/%: $(O)/%.o $(O)/libtest.a $(O)/libcommon.a $(O)/libproto.a
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter-out %/libcommon.a %/libproto.a %/libtest.a,$(filter %.a,$^)) \
	  $(O)/libtest.a $(O)/libcommon.a $(O)/libproto.a $(O)/libcommon.a $(LDLIBS) -lcmocka -lcurl -ljansson -ljwt
# Parts measured by themselves, for `make bench`.
bench.src := $(wildcard tests/bench/bench_*.c)
objects   += $(bench.src:%.c=$(O)/%.o)
$(bench.src:%.c=$(O)/%): $(O)/%: $(O)/%.o $(O)/libgateway.a $(O)/libidentity.a $(O)/libcommon.a $(O)/libproto.a
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(O)/libcommon.a $(LDLIBS)
bench-bin: $(bench.src:%.c=$(O)/%)
export AVANTA_SUITES ?= $(abspath ../shared/suites)
$(O)/%.ok: $(O)/%
	$(call say,TEST,$(O)/$*)AVANTA_BUILD=$(abspath $(O)) $< > $<.log 2>&1 || { cat $<.log; echo "FAILED: $<"; exit 1; }; \
	  grep -E '^\[  (PASSED|FAILED)' $<.log; touch $@
# Only tests of whole programs wait for the programs.
whole.src := $(e2e.src) $(wildcard tests/model/model_*.c) tests/component/test_row_security.c tests/component/test_permissions.c $(foreach s,gateway $(services),$(wildcard tests/component/test_$(call under,$(s))*.c))
$(whole.src:%.c=$(O)/%.ok): $(programs:%=$(O)/bin/%)
$(O)/tests/unit/tools/test_sql_scan: $(O)/libcommon/tools/sql_scan.o
$(patsubst %.c,$(O)/%.ok,$(wildcard tests/unit/tools/test_*.c)): $(apigen) $(sqlgen) $(tidy)
test-mode: $(test.src:%.c=$(O)/%.ok)
test-unit: $(unit.src:%.c=$(O)/%.ok)
# Where threads meet, under ThreadSanitizer: what they share, the hand-over from the bus, whole processes.
tsan.src := $(patsubst %,tests/unit/base/test_%.c,ring ring_steps log metric pool id) tests/unit/io/test_loop.c \
            $(wildcard tests/component/test_bus*.c) $(patsubst %,tests/component/test_%.c,service log_ship identity_keys) \
            $(patsubst %,tests/e2e/test_%.c,threads api_keys)
test-tsan: $(tsan.src:%.c=$(O)/%.ok)
# These tests wait more than they work, so twice as many run at a time.
jobs.tsan := $(shell expr 2 \* $(jobs))
test:
	$(Q)$(MAKE) --no-print-directory -j$(jobs) MODE=debug test-mode
	$(Q)$(MAKE) --no-print-directory -j$(jobs) MODE=asan test-mode
	$(Q)$(MAKE) --no-print-directory -j$(jobs.tsan) MODE=tsan test-tsan
	$(Q)$(MAKE) --no-print-directory -j$(jobs) MODE=fuzz fuzz-replay
	@cat build/debug/tests/*/*.log build/debug/tests/*/*/*.log build/asan/tests/*/*.log build/asan/tests/*/*/*.log \
	  $(tsan.src:%.c=build/tsan/%.log) 2>/dev/null | \
	  awk '/^\[  PASSED  \]/{p+=$$4} /^\[  FAILED  \] [0-9]+ test/{f+=$$4} END{printf "%d passed, %d failed\n",p,f; exit f>0||p==0}'

# Counts gather as programs end; old ones would count twice.
cov:
	$(Q)find build/cov -name '*.gcda' -delete 2>/dev/null || true
	$(Q)rm -f $(test.src:%.c=build/cov/%.ok)
	$(Q)$(MAKE) --no-print-directory -j$(jobs) MODE=cov test-mode
	$(Q)gcov -n $(addprefix build/cov/,$(patsubst %.c,%.gcno,$(lib.src) $(gateway.src) $(foreach s,$(services),$($(s).src)))) \
	  2>build/cov/gcov.log | awk -v LOW=70 -f libcommon/tools/coverage.awk

# --- fuzzing: each tests/fuzz/fuzz_X.c with its corpus; `test` replays, `fuzz` explores ------
fuzz.src := $(wildcard tests/fuzz/fuzz_*.c)
fuzz.bin := $(fuzz.src:%.c=build/fuzz/%)
objects  += $(fuzz.src:%.c=$(O)/%.o)
FUZZ_SECONDS ?= 60
$(fuzz.bin): build/fuzz/%: build/fuzz/%.o build/fuzz/libtest.a build/fuzz/libcommon.a build/fuzz/libproto.a
	$(call say,LD,$@)$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $(filter %.o,$^) $(filter %.a,$^) $(filter %/libcommon.a,$^) $(LDLIBS) -lcmocka -lcurl -ljansson
build/fuzz/tests/fuzz/fuzz_sql: build/fuzz/libcommon/tools/sql_scan.o
build/fuzz/tests/fuzz/fuzz_jws: build/fuzz/libgateway.a
build/fuzz/tests/fuzz/fuzz_export: build/fuzz/libaudit-log.a
build/fuzz/tests/fuzz/fuzz_fingerprint: build/fuzz/libaudit-log.a
fuzz-replay: $(fuzz.bin)
	$(Q)for b in $(fuzz.bin); do n=$${b##*fuzz_}; printf '  %-6s %s\n' REPLAY $$n; \
	  $$b -runs=0 tests/fuzz/corpus/$$n > $$b.log 2>&1 || { cat $$b.log; exit 1; }; done
fuzz-explore: $(fuzz.bin)
	$(Q)for b in $(fuzz.bin); do n=$${b##*fuzz_}; mkdir -p build/fuzz/found/$$n; printf '  %-6s %s\n' FUZZ $$n; \
	  $$b -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=build/fuzz/found/ build/fuzz/found/$$n tests/fuzz/corpus/$$n > $$b.log 2>&1 || \
	  { tail -40 $$b.log; exit 1; }; done
fuzz: ; $(Q)$(MAKE) --no-print-directory MODE=fuzz fuzz-explore

# --- checks --------------------------------------------------------------------------------
own.c := $(wildcard libcommon/*/*.c gateway/*.c services/*/*.c proto/tools/*.c tests/*/*.c tests/unit/*/*.c)
own.h := $(wildcard libcommon/*/*.h gateway/*.h services/*/*.h proto/tools/*.h tests/*/*.h tests/unit/*/*.h)
check: check-format check-tidy check-sql check-headers check-docs check-clang check-lint
check-format:
	$(call say,CHECK,format)clang-format --dry-run -Werror $(own.c) $(own.h)
# Every C file there is, and those some program is made of.
built.c := $(sort $(lib.src) $(apigen.src) $(sqlgen.src) $(tidy.src) $(wordgen.src) $(gateway.src) $(foreach s,$(services),$($(s).src)) \
             $(test.src) $(compose.src) $(bench.src) $(wildcard tests/support/*.c) $(fuzz.src))
check-tidy: $(tidy) | $(generated)
	$(call say,CHECK,tidy)mkdir -p build/tidy && { find libcommon gateway services proto tests -name '*.[ch]' | sort | sed 's/^/own /'; \
	  printf 'built %s\n' $(filter-out $(G)/%,$(built.c)); printf 'gen %s\n' $(filter %.c %.h,$(generated)); } > build/tidy/list && $(tidy) . build/tidy/list
check-headers: $(own.h:%=$(O)/hdr/%.ok)
$(O)/hdr/%.ok: % $(O)/flags | $(generated)
	$(Q)mkdir -p $(@D) && (echo '#include "$<"'; echo 'typedef int not_empty;') | $(CC) $(CPPFLAGS) $(CFLAGS) -xc -fsyntax-only - && touch $@
# clang-tidy, one stamp per source; .clang-tidy and tests/.clang-tidy choose the checks.
lint.cc := $(CPPFLAGS) $(std) $(pkg.cflags)
check-lint: | $(generated)
	$(call say,CHECK,clang-tidy)$(MAKE) --no-print-directory -j$(jobs) lint
lint: $(own.c:%.c=build/lint/%.ok)
build/lint/%.ok: %.c build/lint/flags
	$(call say,LINT,$<)mkdir -p $(@D) && clang-tidy --quiet $< -- $(lint.cc) 2> $(@:.ok=.log) || { cat $(@:.ok=.log); exit 1; }; \
	  clang $(lint.cc) -M -MP -MT $@ -MF $(@:.ok=.d) $< && touch $@
build/lint/flags: FORCE .clang-tidy tests/.clang-tidy
	@mkdir -p $(@D); cat .clang-tidy tests/.clang-tidy | sed '$$a $(lint.cc)' | cmp -s - $@ || cat .clang-tidy tests/.clang-tidy | sed '$$a $(lint.cc)' > $@
ifneq ($(filter lint,$(MAKECMDGOALS)),)
-include $(own.c:%.c=build/lint/%.d)
endif
# Migrations and statements on a scratch PostgreSQL; whose rows each statement touches.
check-sql: $(sqlgen) $(stored:%=$(O)/bin/%)
	$(call say,CHECK,sql)BIN=$(O)/bin SQLGEN=$(sqlgen) tests/check_sql.sh $(stored)
check-clang: | $(generated)
	$(call say,CHECK,clang)$(MAKE) --no-print-directory -s -j$(jobs) CC=clang O=build/clang build/clang/all.ok
build/clang/all.ok: $(own.c:%.c=$(O)/%.o) ; @touch $@
format: ; $(Q)clang-format -i $(own.c) $(own.h)
# The reference is generated: pages of the declarations, pages of what each program says of itself.
docs.apigen   := api errors events permissions
docs.programs := settings metrics
docs.pages    := $(patsubst %,build/docs/%.md,$(docs.apigen) $(docs.programs))
docs.kind.api := markdown
docs.option.settings := --config-markdown
docs.option.metrics  := --metrics-markdown
docs.title.settings  := Settings
docs.title.metrics   := Metrics
$(docs.apigen:%=build/docs/%.md): build/docs/%.md: $(apigen) $(G)/api.pb
	$(call say,GEN,$@)mkdir -p $(@D) && $(apigen) $(or $(docs.kind.$*),$*) $(G)/api.pb $@
$(docs.programs:%=build/docs/%.md): build/docs/%.md: $(programs:%=$(O)/bin/%)
	$(call say,GEN,$@)mkdir -p $(@D) && (echo '# $(docs.title.$*)'; for p in $(programs); do printf '\n## %s\n\n' $$p; \
	  $(O)/bin/$$p $(docs.option.$*) || exit 1; done) > $@.tmp && mv $@.tmp $@
docs: $(docs.pages) ; $(Q)mkdir -p docs/reference && cp $(docs.pages) docs/reference/
check-docs: $(docs.pages)
	$(call say,CHECK,docs)for f in $(notdir $(docs.pages)); do cmp -s build/docs/$$f docs/reference/$$f || \
	  { echo "docs/reference/$$f is stale: run 'make docs'"; exit 1; }; done
	$(Q)tests/check_docs_links.sh
deps deps-build: ; @echo "All packages are installed."

# --- running -----------------------------------------------------------------------------
# PORT is 8080 on the first start; afterwards the stack keeps its port unless another is given.
STATE ?= .run
PORT  ?=
TLS   ?=
up:
	$(Q)$(MAKE) --no-print-directory -j$(jobs) MODE=release all
	$(Q)STATE='$(STATE)' PORT='$(PORT)' TLS='$(TLS)' BIN=build/release/bin deploy/up.sh
bench:
	$(Q)$(MAKE) --no-print-directory -j$(jobs) MODE=release all bench-bin
	$(Q)tests/bench/run.sh
compose.bin := $(O)/tests/e2e/test_api $(O)/tests/e2e/test_statements $(compose.src:%.c=$(O)/%)
compose-bin: $(compose.bin)
compose-test:
	$(Q)$(MAKE) --no-print-directory -j$(jobs) MODE=debug compose-bin
	$(Q)tests/compose/run.sh build/debug/tests
down: ; $(Q)STATE='$(STATE)' deploy/down.sh

.SECONDARY:
.DELETE_ON_ERROR:
.PHONY: all check check-format check-tidy check-headers check-docs check-clang check-sql check-lint lint format fuzz-replay fuzz-explore test test-mode test-tsan test-unit up down bench bench-bin cov compose-bin compose-test deps deps-build docs fuzz clean help print-flags FORCE
clean: ; rm -rf build
help: ; @sed -n 's/^## //p' Makefile
-include $(objects:.o=.d)
