#include "services/audit-log/verify.h"

#include "services/audit-log/clean.h"
#include "services/audit-log/export_line.h"
#include "services/audit-log/export_lines.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/limits.h"
#include "libcommon/io/note_key.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define POOL_CHUNKS (2 * EXPORT_ARENA_BYTES_MAX / ARENA_CHUNK_BYTES)

enum phase {
    PHASE_HEADER,
    PHASE_RECORDS,
    PHASE_END
};

struct verify {
    struct export_lines *lines;
    struct arena_pool *pool;
    struct note_verifier log;
    struct note_verifier witness;
    bool has_witness;
    enum phase phase;
    bool after_gap; /* the line before was one */
    uint64_t line_number;
    struct export_line line;
    struct merkle_frontier frontier; /* of a range: all leaves so far */
    struct sha256_run *runs;         /* of records that stand together, as text */
    uint64_t run_first;
    struct verify_report *report;
    struct err *err;
};

static void verify_close(struct verify **verify)
{
    assert(verify != NULL);
    if (*verify != NULL) {
        export_lines_close(&(*verify)->lines);
        sha256_close(&(*verify)->runs, NULL);
        arena_pool_close(&(*verify)->pool);
        free(*verify);
        *verify = NULL;
    }
}

static enum code verify_open(const char *path, struct verify **out, struct err *err)
{
    struct verify *v = calloc(1, sizeof *v);
    enum code code = OK;

    assert(path != NULL);
    assert(out != NULL);
    if (v == NULL) {
        return err_set(err, ERR_INTERNAL, "no memory to verify in");
    }
    v->pool = arena_pool_open(ARENA_CHUNK_BYTES, POOL_CHUNKS);
    if (v->pool == NULL) {
        verify_close(&v);
        return err_set(err, ERR_INTERNAL, "no memory to verify in");
    }
    code = export_lines_open(path, &v->lines, err);
    if (code != OK) {
        verify_close(&v);
    }
    *out = v;
    return code;
}

/* --- what a line says ------------------------------------------------------------------------ */

static enum code differs(struct verify *v, const char *why)
{
    assert(why != NULL);
    return err_set(v->err, ERR_INVALID, "%s", why);
}

/* The signatures, and that it is the checkpoint of the log whose key was given. */
static enum code checkpoint_take(struct verify *v)
{
    struct verify_report *report = v->report;
    struct note note;
    struct checkpoint checkpoint;
    uint64_t time_s = 0;
    enum code code = note_parse(v->line.checkpoint, &note, v->err);

    code = code == OK ? note_verify(&note, &v->log, &time_s, v->err) : code;
    code = code == OK ? checkpoint_parse(note.text, &checkpoint, v->err) : code;
    if (code == OK && v->has_witness) {
        code = note_verify(&note, &v->witness, &report->witness_time_s, v->err);
    }
    if (code != OK) {
        return code;
    }
    if (!str_eq(checkpoint.origin, str_from(v->log.name))) {
        return differs(v, "the checkpoint is of another log than the key");
    }
    if (checkpoint.size > MERKLE_SIZE_MAX) {
        return differs(v, "the checkpoint's size is beyond what a log can have");
    }
    (void)str_copy(checkpoint.origin, report->origin, sizeof report->origin);
    report->size = checkpoint.size;
    report->signatures = note.count;
    memcpy(report->root.bytes, checkpoint.root, sizeof report->root.bytes);
    assert(report->origin[0] != '\0');
    return OK;
}

/* Gives the hashes of the line to the complete nodes of a range of leaves. */
static bool cover_take(const struct export_line *line,
                       uint64_t from,
                       uint64_t to,
                       struct merkle_node nodes[MERKLE_COVER_MAX])
{
    assert(from <= to);
    if (merkle_cover(from, to, nodes) != line->hash_count) {
        return false;
    }
    for (size_t i = 0; i < line->hash_count; i++) {
        nodes[i].hash = line->hashes[i];
    }
    return true;
}

static const struct {
    struct str name;
    unsigned has;
    unsigned may_have;
} kinds[] = {
    [VERIFY_SELECTION] = {{"selection", 9}, EXPORT_SELECTION_HEADER, 0                          },
    [VERIFY_RANGE] = {{"range", 5},     EXPORT_RANGE_HEADER,     0                          },
    [VERIFY_SEAL] = {{"seal", 4},      EXPORT_SEAL_HEADER,      EXPORT_HAS(PREVIOUS_SHA256)},
};

static enum code kind_take(struct verify *v)
{
    const struct export_line *line = &v->line;
    struct verify_report *report = v->report;
    bool found = false;

    assert(v->phase == PHASE_HEADER);
    assert(report->records == 0);
    for (size_t i = 0; i < ARRAY_LEN(kinds) && !found; i++) {
        found =
            str_eq(line->kind, kinds[i].name) && (line->has & ~kinds[i].may_have) == kinds[i].has;
        report->kind = (enum verify_kind)i;
    }
    if (!found) {
        return err_set(
            v->err, ERR_JSON, "the line is no header of a range, of a selection or of a seal");
    }
    if (!str_eq(line->format, STR(EXPORT_FORMAT))) {
        return err_set(v->err, ERR_JSON, "the format is not " EXPORT_FORMAT);
    }
    if (report->kind == VERIFY_SEAL &&
        (line->month.len != VERIFY_MONTH_BYTES - 1 ||
         !str_copy(line->month, report->month, VERIFY_MONTH_BYTES))) {
        return err_set(v->err, ERR_JSON, "\"month\" is no month");
    }
    report->has_previous = (line->has & EXPORT_HAS(PREVIOUS_SHA256)) != 0;
    memcpy(report->previous_sha256, line->previous_sha256, sizeof report->previous_sha256);
    return OK;
}

static enum code header_take(struct verify *v)
{
    const struct export_line *line = &v->line;
    struct merkle_node nodes[MERKLE_COVER_MAX];
    enum code code = kind_take(v);

    code = code == OK ? checkpoint_take(v) : code;
    if (code != OK) {
        return code;
    }
    v->phase = PHASE_RECORDS;
    if (v->report->kind == VERIFY_SELECTION) {
        return OK;
    }
    if (line->first > v->report->size) {
        return differs(v, "the range begins behind the end of the log");
    }
    if (!cover_take(line, 0, line->first, nodes)) {
        return differs(v, "\"left\" has not as many hashes as the range's beginning needs");
    }
    merkle_frontier_restore(&v->frontier, line->first, nodes, line->hash_count);
    assert(v->frontier.size <= v->report->size);
    return OK;
}

/* The complete nodes stand for the records up to `to`. */
static void nodes_append(struct verify *v, const struct merkle_node *nodes, uint64_t to)
{
    assert(v->frontier.size <= to);
    for (size_t i = 0; i < v->line.hash_count; i++) {
        bool fits = merkle_frontier_append_node(&v->frontier, &nodes[i]);

        assert(fits);
    }
    assert(v->frontier.size == to);
}

/* Records that are not the month's. */
static enum code gap_take(struct verify *v)
{
    const struct export_line *line = &v->line;
    struct merkle_node nodes[MERKLE_COVER_MAX];

    assert(v->report->kind == VERIFY_SEAL);
    if (v->after_gap || line->next <= v->frontier.size || line->next >= v->report->size) {
        return differs(v, "the gap does not lead to a record of the log");
    }
    if (!cover_take(line, v->frontier.size, line->next, nodes)) {
        return differs(v, "\"nodes\" has not as many hashes as the gap needs");
    }
    nodes_append(v, nodes, line->next);
    v->report->gaps++;
    v->after_gap = true;
    return OK;
}

static enum code month_check(struct verify *v)
{
    char time[TIMESTAMP_TEXT_BYTES];

    assert(v->report->kind == VERIFY_SEAL);
    if (v->line.occurred_ms > AUDIT_TIME_MS_MAX) {
        return differs(v, "the record has no time");
    }
    timestamp_format(v->line.occurred_ms, time);
    return memcmp(time, v->report->month, VERIFY_MONTH_BYTES - 1) == 0
               ? OK
               : differs(v, "the record is not of the month that was sealed");
}

static enum code range_record_take(struct verify *v, const struct merkle_hash *leaf)
{
    struct merkle_node complete[MERKLE_LEVELS_MAX];

    assert(v->report->kind != VERIFY_SELECTION);
    if (v->line.leaf_index != v->frontier.size) {
        return differs(v, "the record is not the next one of the range");
    }
    if (v->frontier.size >= v->report->size) {
        return differs(v, "the record is behind the end of the log");
    }
    (void)merkle_frontier_append(&v->frontier, leaf, complete);
    return OK;
}

static enum code selected_record_take(struct verify *v, const struct merkle_hash *leaf)
{
    const struct export_line *line = &v->line;
    struct merkle_proof proof = {.count = line->hash_count};

    assert(v->report->kind == VERIFY_SELECTION);
    if (v->report->records > 0 && line->leaf_index <= v->report->last_index) {
        return differs(v, "the record does not come after the one before it");
    }
    if (proof.count > MERKLE_PROOF_MAX) {
        return differs(v, "the proof is longer than any");
    }
    memcpy(proof.hashes, line->hashes, proof.count * sizeof proof.hashes[0]);
    if (!merkle_inclusion_verify(
            line->leaf_index, v->report->size, leaf, &proof, &v->report->root)) {
        return differs(v,
                       "the record is not in the log as it stands here, or its proof is not its");
    }
    return OK;
}

/* The records before this gap, or before the end. */
static void run_end(struct verify *v)
{
    char text[64];
    struct buf b = buf_over(text, sizeof text);
    const struct verify_report *report = v->report;

    assert(v->runs != NULL);
    assert(v->run_first <= report->last_index);
    if (report->records == 0) {
        return;
    }
    if (v->run_first > report->first_index) {
        buf_char(&b, ',');
    }
    buf_printf(&b,
               "[%llu,%llu)",
               (unsigned long long)v->run_first,
               (unsigned long long)report->last_index + 1);
    assert(!b.overflow);
    sha256_add(v->runs, buf_view(&b));
}

static enum code record_take(struct verify *v)
{
    const struct export_line *line = &v->line;
    struct verify_report *report = v->report;
    struct merkle_hash leaf;
    enum code code = OK;

    report->failed_at_record = true; /* until it is found good */
    report->failed_leaf_index = line->leaf_index;
    merkle_leaf_hash(line->record, &leaf);
    if ((line->has & EXPORT_HAS(LEAF_HASH)) != 0 && !merkle_hash_eq(&leaf, &line->leaf_hash)) {
        return differs(v, "the record does not have the hash that is given for it");
    }
    code = report->kind == VERIFY_SELECTION ? selected_record_take(v, &leaf)
                                            : range_record_take(v, &leaf);
    code = code == OK && report->kind == VERIFY_SEAL ? month_check(v) : code;
    if (code != OK) {
        return code;
    }
    report->first_index = report->records == 0 ? line->leaf_index : report->first_index;
    if (report->records == 0 || line->leaf_index != report->last_index + 1) {
        run_end(v);
        v->run_first = line->leaf_index;
    }
    report->last_index = line->leaf_index;
    report->records++;
    v->after_gap = false;
    report->failed_at_record = false;
    report->failed_leaf_index = 0;
    assert(report->records <= report->size);
    return OK;
}

static enum code end_take(struct verify *v)
{
    struct merkle_node nodes[MERKLE_COVER_MAX];
    struct merkle_hash root;

    assert(v != NULL);
    v->phase = PHASE_END;
    if (v->line.count != v->report->records) {
        return differs(v, "the file has not as many records as its last line says");
    }
    if (v->report->kind == VERIFY_SELECTION) {
        return OK;
    }
    if (v->after_gap) {
        return differs(v, "no record follows the gap");
    }
    if (!cover_take(&v->line, v->frontier.size, v->report->size, nodes)) {
        return differs(v, "\"right\" has not as many hashes as the range's end needs");
    }
    nodes_append(v, nodes, v->report->size);
    merkle_frontier_root(&v->frontier, &root);
    if (!merkle_hash_eq(&root, &v->report->root)) {
        return differs(v,
                       "the records do not give the root that is signed: one of them was changed, "
                       "or a hash beside them");
    }
    return OK;
}

static enum code line_verify(struct verify *v)
{
    unsigned kind = v->line.has & ~EXPORT_HAS(LEAF_HASH);
    bool range = v->report->kind != VERIFY_SELECTION;

    assert(v->report != NULL);
    if (v->phase == PHASE_END) {
        return differs(v, "something follows the last line");
    }
    if (v->phase == PHASE_HEADER) {
        return header_take(v);
    }
    if (kind == (range ? EXPORT_RANGE_RECORD : EXPORT_SELECTION_RECORD)) {
        return record_take(v);
    }
    if (v->line.has == EXPORT_GAP && v->report->kind == VERIFY_SEAL) {
        return gap_take(v);
    }
    if (v->line.has == (range ? EXPORT_RANGE_END : EXPORT_SELECTION_END)) {
        return end_take(v);
    }
    return err_set(v->err, ERR_JSON, "the line is neither a record of this kind nor the last line");
}

static enum code line_run(struct verify *v, struct str line)
{
    struct arena *arena = arena_open(v->pool, EXPORT_ARENA_BYTES_MAX);
    enum code code = OK;

    assert(arena != NULL); /* the pool has room for two */
    code = export_line_read(line, arena, &v->line, v->err);
    code = code == OK ? line_verify(v) : code;
    arena_dispose(&arena);
    return code;
}

static enum code lines_run(struct verify *v)
{
    struct str line = STR_EMPTY;
    bool found = true;
    enum code code = OK;

    assert(v->phase == PHASE_HEADER);
    while (code == OK) {
        code = export_lines_next(v->lines, &line, &found, v->err);
        v->line_number += found || code != OK ? 1 : 0;
        if (code != OK || !found) {
            break;
        }
        code = line_run(v, line);
    }
    if (code == OK && v->phase != PHASE_END) {
        v->line_number++;
        code = differs(v, "the file ends before its last line: it was cut");
    }
    return code;
}

enum code audit_verify_file(const char *path,
                            const char *log_vkey,
                            const char *witness_vkey,
                            struct verify_report *out,
                            struct err *err)
{
    struct verify *v = NULL;
    enum code code = OK;

    assert(log_vkey != NULL);
    assert(out != NULL);
    memset(out, 0, sizeof *out);
    code = verify_open(path, &v, err);
    if (code != OK) {
        return code;
    }
    assert(v != NULL);
    v->report = out;
    v->err = err;
    v->runs = sha256_open();
    sha256_add(v->runs, STR("{"));
    v->has_witness = witness_vkey != NULL;
    code = note_verifier_parse(str_from(log_vkey), &v->log, err);
    if (code == OK && v->has_witness) {
        code = note_verifier_parse(str_from(witness_vkey), &v->witness, err);
    }
    if (code == OK && (v->log.algorithm != NOTE_ED25519 ||
                       (v->has_witness && v->witness.algorithm != NOTE_COSIGNATURE))) {
        code = err_set(err, ERR_INVALID, "a key is not of its kind: 1 for a log, 4 for a witness");
    }
    if (code == OK) {
        code = lines_run(v);
        out->failed_line = code == OK ? 0 : v->line_number;
    }
    if (code == OK) {
        run_end(v);
        sha256_add(v->runs, STR("}"));
        sha256_close(&v->runs, out->leaves_sha256);
        export_lines_sha256(v->lines, out->file_sha256);
    }
    verify_close(&v);
    return code;
}
