#pragma once
/*
 * A log of RECORDS records with its keys, and exports of it, built line by line in `file`. For the
 * tests of this folder; each of them is a program of its own with its own copy.
 */

#include "services/audit-log/export_line.h"
#include "services/audit-log/verify.h"
#include "tests/support/check.h"

#include "libcommon/base/limits.h"
#include "libcommon/codec/jcs.h"
#include "libcommon/io/note_key.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RECORDS    70
#define LEVELS     7
#define FILE_BYTES ((size_t)128 * 1024)
#define ORIGIN     "avanta.example/audit"
#define TIME_S     1795557887

#define JANUARY_MS  INT64_C(1706659200000) /* 2024-01-31 */
#define FEBRUARY_MS INT64_C(1706745600000) /* 2024-02-01 */

static struct arena_pool *pool;
static struct arena *arena;
static uint64_t random_state;
static char path[] = "/tmp/avanta_verify_XXXXXX";
static char log_vkey[NOTE_KEY_TEXT_BYTES_MAX];
static char witness_vkey[NOTE_KEY_TEXT_BYTES_MAX];
static struct note_signer log_signer;
static struct note_signer witness_signer;
static struct str records[RECORDS];
static struct merkle_hash nodes[LEVELS][RECORDS];
static struct merkle_hash roots[RECORDS + 1];

static inline uint64_t next_random(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return random_state >> 33;
}

static inline void
key_make(const char *name, enum note_algorithm algorithm, struct note_signer *out, char *out_vkey)
{
    uint8_t seed[ED25519_KEY_BYTES];
    struct buf b = buf_over(out_vkey, NOTE_KEY_TEXT_BYTES_MAX);
    struct err err = {.code = OK};

    ed25519_generate(seed);
    assert_int_equal(note_signer_make(str_from(name), algorithm, seed, out, &err), OK);
    note_verifier_write(&out->verifier, &b);
    assert_true(buf_terminate(&b));
}

/* Records of two months stand among each other. */
static inline bool is_january(uint64_t i)
{
    return i % 7 < 4 || i < 20;
}

static inline struct str record_make(int64_t i)
{
    char *memory = arena_alloc(arena, 256);
    struct buf b = buf_over(memory, 256);
    struct err err = {.code = OK};
    const struct jcs_member members[] = {
        {.name = STR("user"),   .kind = JCS_STRING,                           .text = STR("Jos\xC3\xA9 \"el Jefe\"")},
        {.name = STR("number"), .kind = JCS_INTEGER,                          .integer = i * i                      },
        {.name = STR("entity"), .kind = JCS_NULL                            },
        {.name = STR("occurred_ms"),
         .kind = JCS_INTEGER,
         .integer = (is_january((uint64_t)i) ? JANUARY_MS : FEBRUARY_MS) + i                                      },
    };

    assert_non_null(memory);
    assert_int_equal(jcs_object(members, ARRAY_LEN(members), &b, &err), OK);
    return buf_view(&b);
}

static inline int setup(void **state)
{
    struct merkle_frontier frontier;
    int file = mkstemp(path);

    (void)state;
    pool = arena_pool_open(ARENA_CHUNK_BYTES, 1024);
    arena = arena_open(pool, 8UL * 1024 * 1024);
    random_state = (uint64_t)time(NULL);
    print_message("seed %" PRIu64 "\n", random_state);
    key_make(ORIGIN, NOTE_ED25519, &log_signer, log_vkey);
    key_make("witness.example/w1", NOTE_COSIGNATURE, &witness_signer, witness_vkey);
    merkle_frontier_init(&frontier);
    merkle_frontier_root(&frontier, &roots[0]);
    for (size_t i = 0; i < RECORDS; i++) {
        struct merkle_node complete[MERKLE_LEVELS_MAX];
        size_t count = 0;

        records[i] = record_make((int64_t)i);
        merkle_leaf_hash(records[i], &nodes[0][i]);
        count = merkle_frontier_append(&frontier, &nodes[0][i], complete);
        for (size_t n = 0; n < count; n++) {
            nodes[complete[n].level][complete[n].index] = complete[n].hash;
        }
        merkle_frontier_root(&frontier, &roots[i + 1]);
    }
    return file < 0 || close(file) != 0;
}

static inline int teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    arena_dispose(&arena);
    arena_pool_close(&pool);
    return 0;
}

/* --- a file --------------------------------------------------------------------------------- */

static char file_memory[FILE_BYTES];
static struct buf file;

static inline void put_line(const struct export_line *line)
{
    struct arena_mark mark = arena_mark(arena);
    struct str text = STR_EMPTY;
    struct err err = {.code = OK};

    assert_int_equal(export_line_write(line, arena, &text, &err), OK);
    buf_str(&file, text);
    buf_char(&file, '\n');
    assert_false(file.overflow);
    arena_rewind(arena, mark);
}

static inline void put_cover(struct export_line *line, uint64_t from, uint64_t to)
{
    struct merkle_node cover[MERKLE_COVER_MAX];

    line->hash_count = merkle_cover(from, to, cover);
    for (size_t i = 0; i < line->hash_count; i++) {
        line->hashes[i] = nodes[cover[i].level][cover[i].index];
    }
}

static inline struct str checkpoint_sign(const char *origin, uint64_t size)
{
    struct checkpoint checkpoint = {
        .origin = str_from(origin), .size = size, .extensions = STR_EMPTY};
    char *memory = arena_alloc(arena, 1024);
    struct buf b = buf_over(memory, 1024);
    struct err err = {.code = OK};
    struct str text;

    assert_non_null(memory);
    memcpy(checkpoint.root, roots[size].bytes, sizeof checkpoint.root);
    assert_int_equal(checkpoint_write(&checkpoint, &b, &err), OK);
    text = buf_view(&b);
    buf_char(&b, '\n');
    assert_int_equal(note_sign(&log_signer, text, 0, &b, &err), OK);
    assert_int_equal(note_sign(&witness_signer, text, TIME_S, &b, &err), OK);
    return buf_view(&b);
}

static inline void put_header(bool range, uint64_t first, uint64_t size)
{
    struct export_line line = {
        .has = range ? EXPORT_RANGE_HEADER : EXPORT_SELECTION_HEADER,
        .format = STR(EXPORT_FORMAT),
        .kind = range ? STR("range") : STR("selection"),
        .first = first,
        .checkpoint = checkpoint_sign(ORIGIN, size),
    };

    file = buf_over(file_memory, sizeof file_memory);
    if (range) {
        put_cover(&line, 0, first);
    }
    put_line(&line);
}

static inline void put_record(bool range, uint64_t index, uint64_t size)
{
    struct export_line line = {.has = range ? EXPORT_RANGE_RECORD : EXPORT_SELECTION_RECORD,
                               .leaf_index = index,
                               .record = records[index]};

    if (index % 3 == 0) {
        line.has |= EXPORT_HAS(LEAF_HASH);
        line.leaf_hash = nodes[0][index];
    }
    if (!range) {
        struct merkle_plan plan;
        struct merkle_proof proof;

        merkle_inclusion_plan(index, size, &plan);
        for (size_t i = 0; i < plan.node_count; i++) {
            plan.nodes[i].hash = nodes[plan.nodes[i].level][plan.nodes[i].index];
        }
        merkle_proof_make(&plan, &proof);
        line.hash_count = proof.count;
        memcpy(line.hashes, proof.hashes, proof.count * sizeof proof.hashes[0]);
    }
    put_line(&line);
}

static inline void put_end(bool range, uint64_t count, uint64_t next, uint64_t size)
{
    struct export_line line = {.has = range ? EXPORT_RANGE_END : EXPORT_SELECTION_END,
                               .count = count};

    if (range) {
        put_cover(&line, next, size);
    }
    put_line(&line);
}

static inline void put_range(uint64_t first, uint64_t count, uint64_t size)
{
    put_header(true, first, size);
    for (uint64_t i = 0; i < count; i++) {
        put_record(true, first + i, size);
    }
    put_end(true, count, first + count, size);
}

/* Every `step`th record. */
static inline void put_selection(uint64_t step, uint64_t size)
{
    uint64_t count = 0;

    put_header(false, 0, size);
    for (uint64_t i = 0; i < size; i += step) {
        put_record(false, i, size);
        count++;
    }
    put_end(false, count, 0, size);
}

static inline enum code verify_with(const char *log, const char *witness, struct verify_report *out)
{
    struct err err = {.code = OK};
    FILE *stream = fopen(path, "wb");
    enum code code = OK;

    assert_non_null(stream);
    assert_int_equal(fwrite(file.ptr, 1, file.len, stream), file.len);
    assert_int_equal(fclose(stream), 0);
    code = audit_verify_file(path, log, witness, out, &err);
    assert_int_equal(code, err.code);
    assert_int_equal(code == OK, err.text[0] == '\0');
    return code;
}

static inline enum code verify(struct verify_report *out)
{
    return verify_with(log_vkey, witness_vkey, out);
}
