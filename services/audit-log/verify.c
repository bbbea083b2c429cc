#include "services/audit-log/verify.h"

#include "services/audit-log/export_line.h"

#include "libcommon/base/limits.h"
#include "libcommon/io/note_key.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POOL_CHUNKS (2 * EXPORT_ARENA_BYTES_MAX / ARENA_CHUNK_BYTES)

enum phase {
    PHASE_HEADER,
    PHASE_RECORDS,
    PHASE_END
};

struct verify {
    FILE *file;
    char *memory; /* EXPORT_LINE_BYTES_MAX, what was read and not yet taken */
    size_t from;
    size_t to;
    bool at_end;
    struct arena_pool *pool;
    struct note_verifier log;
    struct note_verifier witness;
    bool has_witness;
    enum phase phase;
    uint64_t line_number;
    struct export_line line;
    struct merkle_frontier frontier; /* of a range: all leaves so far */
    struct verify_report *report;
    struct err *err;
};

/* --- lines ---------------------------------------------------------------------------------- */

static void verify_close(struct verify **verify)
{
    assert(verify != NULL);
    if (*verify != NULL) {
        if ((*verify)->file != NULL) {
            (void)fclose((*verify)->file);
        }
        arena_pool_close(&(*verify)->pool);
        free((*verify)->memory);
        free(*verify);
        *verify = NULL;
    }
}

static enum code verify_open(const char *path, struct verify **out, struct err *err)
{
    struct verify *v = calloc(1, sizeof *v);

    assert(path != NULL);
    assert(out != NULL);
    if (v == NULL) {
        return err_set(err, ERR_INTERNAL, "no memory to verify in");
    }
    v->memory = malloc(EXPORT_LINE_BYTES_MAX);
    v->pool = arena_pool_open(ARENA_CHUNK_BYTES, POOL_CHUNKS);
    if (v->memory == NULL || v->pool == NULL) {
        verify_close(&v);
        return err_set(err, ERR_INTERNAL, "no memory to verify in");
    }
    v->file = fopen(path, "rbe");
    if (v->file == NULL) {
        verify_close(&v);
        return err_set(err, ERR_NOT_FOUND, "the file cannot be opened");
    }
    *out = v;
    return OK;
}

static enum code fill(struct verify *v)
{
    size_t had = v->to - v->from;

    memmove(v->memory, v->memory + v->from, had);
    v->from = 0;
    v->to = had + fread(v->memory + had, 1, EXPORT_LINE_BYTES_MAX - had, v->file);
    v->at_end = v->to < EXPORT_LINE_BYTES_MAX;
    assert(v->to <= EXPORT_LINE_BYTES_MAX);
    if (ferror(v->file) != 0) {
        return err_set(v->err, ERR_UNAVAILABLE, "the file cannot be read to its end");
    }
    return OK;
}

/* The next line without its newline; *out_found is false at the end of the file. */
static enum code line_take(struct verify *v, struct str *out, bool *out_found)
{
    const char *newline = memchr(v->memory + v->from, '\n', v->to - v->from);

    assert(v->from <= v->to);
    if (newline == NULL && !v->at_end) {
        enum code code = fill(v);

        if (code != OK) {
            return code;
        }
        newline = memchr(v->memory, '\n', v->to);
    }
    *out_found = v->to > v->from;
    if (!*out_found) {
        return OK;
    }
    v->line_number++;
    if (newline == NULL && !v->at_end) {
        return err_set(
            v->err, ERR_TOO_LARGE, "the line is longer than %lu bytes", EXPORT_LINE_BYTES_MAX);
    }
    out->ptr = v->memory + v->from;
    out->len = newline == NULL ? v->to - v->from : (size_t)(newline - out->ptr);
    v->from += out->len + (newline == NULL ? 0 : 1);
    return OK;
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

static enum code header_take(struct verify *v)
{
    const struct export_line *line = &v->line;
    struct merkle_node nodes[MERKLE_COVER_MAX];
    bool range = line->has == EXPORT_RANGE_HEADER && str_eq(line->kind, STR("range"));
    bool selection = line->has == EXPORT_SELECTION_HEADER && str_eq(line->kind, STR("selection"));
    enum code code = OK;

    if (!range && !selection) {
        return err_set(v->err, ERR_JSON, "the line is no header of a range or a selection");
    }
    if (!str_eq(line->format, STR(EXPORT_FORMAT))) {
        return err_set(v->err, ERR_JSON, "the format is not " EXPORT_FORMAT);
    }
    code = checkpoint_take(v);
    if (code != OK) {
        return code;
    }
    v->report->is_range = range;
    if (range && line->first > v->report->size) {
        return differs(v, "the range begins behind the end of the log");
    }
    if (range) {
        if (!cover_take(line, 0, line->first, nodes)) {
            return differs(v, "\"left\" has not as many hashes as the range's beginning needs");
        }
        merkle_frontier_restore(&v->frontier, line->first, nodes, line->hash_count);
    }
    v->phase = PHASE_RECORDS;
    assert(v->frontier.size <= v->report->size);
    return OK;
}

static enum code range_record_take(struct verify *v, const struct merkle_hash *leaf)
{
    struct merkle_node complete[MERKLE_LEVELS_MAX];

    assert(v->report->is_range);
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

    assert(!v->report->is_range);
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
    code = report->is_range ? range_record_take(v, &leaf) : selected_record_take(v, &leaf);
    if (code != OK) {
        return code;
    }
    report->first_index = report->records == 0 ? line->leaf_index : report->first_index;
    report->last_index = line->leaf_index;
    report->records++;
    report->failed_at_record = false;
    report->failed_leaf_index = 0;
    assert(report->records <= report->size);
    return OK;
}

static enum code end_take(struct verify *v)
{
    struct merkle_node nodes[MERKLE_COVER_MAX];
    struct merkle_hash root;

    v->phase = PHASE_END;
    if (v->line.count != v->report->records) {
        return differs(v, "the file has not as many records as its last line says");
    }
    if (!v->report->is_range) {
        return OK;
    }
    if (!cover_take(&v->line, v->frontier.size, v->report->size, nodes)) {
        return differs(v, "\"right\" has not as many hashes as the range's end needs");
    }
    for (size_t i = 0; i < v->line.hash_count; i++) {
        bool fits = merkle_frontier_append_node(&v->frontier, &nodes[i]);

        assert(fits);
    }
    assert(v->frontier.size == v->report->size);
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
    bool range = v->report->is_range;

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
        code = line_take(v, &line, &found);
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
    verify_close(&v);
    return code;
}
