/* What witnesses say to checkpoints: kept when it is said with a key that is known here. */
#include "audit_log_ops.gen.h"
#include "audit_log_sql.gen.h"
#include "avanta/audit_log_internal.pb-c.h"
#include "services/audit-log/audit.h"

#include "libcommon/codec/transcode.h"

#include <assert.h>

enum code audit_witnesses_read(struct audit *self, struct err *err)
{
    struct str rest = str_trim(str_from(self->config.witness_keys));
    struct str key = STR_EMPTY;
    enum code code = OK;

    assert(self->witness_count == 0);
    while (code == OK && rest.len > 0 && str_split(&rest, ',', &key)) {
        struct note_verifier *witness = &self->witnesses[self->witness_count];

        if (self->witness_count == WITNESSES_MAX || note_verifier_parse(key, witness, NULL) != OK ||
            witness->algorithm != NOTE_COSIGNATURE) {
            code = err_set_field(err,
                                 ERR_INVALID,
                                 "AVANTA_WITNESS_KEYS",
                                 "AVANTA_WITNESS_KEYS must be at most %d verifier keys of"
                                 " witnesses, a comma between them",
                                 WITNESSES_MAX);
        } else {
            self->witness_count++;
        }
    }
    return code;
}

/* Whose cosignature of the note the line is; NULL: of no witness that is known, or of another note.
 */
static const struct note_verifier *witness_of(struct req *r, const char *note, const char *line)
{
    const struct audit *self = req_service(r);
    struct note *parsed = arena_alloc(req_arena(r), sizeof *parsed);
    size_t end = 0;
    char *joined = NULL;
    uint64_t time_s = 0;

    /* The text alone with the line alone: no other signature can stand in for it. */
    if (!str_find(str_from(note), STR("\n\n"), &end)) {
        return NULL;
    }
    struct str text = str_sub(str_from(note), 0, end + 2);

    joined = arena_printf(req_arena(r), "%.*s%s", STR_FMT(text), line);
    if (parsed == NULL || joined == NULL || note_parse(str_from(joined), parsed, NULL) != OK ||
        parsed->count != 1) {
        return NULL;
    }
    for (size_t i = 0; i < self->witness_count; i++) {
        if (note_verify(parsed, &self->witnesses[i], &time_s, NULL) == OK) {
            return &self->witnesses[i];
        }
    }
    return NULL;
}

static enum step add_note(struct req *r)
{
    const Avanta__AuditLog__AddCosignatureRequest *in = req_in(r);
    Avanta__AuditLog__CosignedSize *size = arena_alloc(req_arena(r), sizeof *size);

    assert(in->size > 0);
    assert(in->line != NULL);
    if (size == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the cosignature needs too much memory");
    }
    avanta__audit_log__cosigned_size__init(size);
    size->has_size = true;
    size->size = in->size;
    return req_query_from(r, Q_COSIGN_NOTE, &size->base);
}

static enum step add_insert(struct req *r)
{
    const Avanta__AuditLog__AddCosignatureRequest *in = req_in(r);
    Avanta__AuditLog__CosignedNote row = AVANTA__AUDIT_LOG__COSIGNED_NOTE__INIT;
    Avanta__AuditLog__CosignatureNew *added = arena_alloc(req_arena(r), sizeof *added);
    const struct note_verifier *witness = NULL;

    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        return req_fail(r, ERR_NOT_FOUND, "there is no checkpoint of that size");
    }
    if (added == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the cosignature needs too much memory");
    }
    if (!req_row(r, 0, &row.base)) {
        return STEP_FAIL;
    }
    witness = witness_of(r, row.note, in->line);
    if (witness == NULL) {
        return req_violation(r,
                             ERR_INVALID,
                             "line",
                             "signature",
                             "must be a cosignature of that checkpoint by a known witness");
    }
    avanta__audit_log__cosignature_new__init(added);
    added->has_size = true;
    added->size = in->size;
    added->witness = transcode_constant(witness->name);
    added->line = in->line;
    return req_query_from(r, Q_COSIGN_ADD, &added->base);
}

static enum step add_done(struct req *r)
{
    assert(req_rows(r) == 0);
    return STEP_DONE;
}

const struct op op_audit_log_add_cosignature = {
    TX_ADD, {add_note, add_insert, add_done}
};
