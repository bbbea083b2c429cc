#include "services/audit-log/clean.h"

#include "libcommon/base/buf.h"
#include "libcommon/base/id.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>
#include <string.h>

#define UTF8_BYTES_MAX 4
#define REPLACEMENT    "\xEF\xBF\xBD"
#define CUT            " [cut]"

/* The character at the beginning of `rest`; empty: there is none. */
static struct str char_first(struct str rest)
{
    size_t count = 0;

    assert(rest.len > 0);
    for (size_t len = 1; len <= UTF8_BYTES_MAX && len <= rest.len; len++) {
        struct str one = str_sub(rest, 0, len);

        if (utf8_length(one, &count)) {
            return one;
        }
    }
    return STR_EMPTY;
}

/* At most `bytes_max` bytes of UTF-8, the mark included where it is cut. */
static bool text_clean(char **text, size_t bytes_max, struct arena *arena)
{
    size_t room = bytes_max - strlen(CUT);
    size_t cap = bytes_max;
    struct str rest;
    char *memory = NULL;
    struct buf out = {0};

    assert(text != NULL);
    assert(arena != NULL);
    assert(bytes_max > sizeof CUT);
    rest = str_from(*text == NULL ? "" : *text);
    if (rest.len <= bytes_max && utf8_valid(rest)) {
        return true;
    }
    /* What cannot be too long even replaced byte by byte needs no more than that. */
    if (rest.len * strlen(REPLACEMENT) <= room) {
        cap = rest.len * strlen(REPLACEMENT);
    }
    memory = arena_alloc(arena, cap + 1);
    if (memory == NULL) {
        return false;
    }
    out = buf_over(memory, cap + 1);
    while (rest.len > 0) {
        struct str taken = char_first(rest);
        struct str put = taken.len > 0 ? taken : STR(REPLACEMENT);

        if (out.len + put.len > room) {
            buf_text(&out, CUT);
            break;
        }
        buf_str(&out, put);
        rest = str_sub(rest, taken.len > 0 ? taken.len : 1, rest.len);
    }
    assert(out.len <= bytes_max);
    *text = out.ptr;
    return buf_terminate(&out);
}

/* `words` ends with NULL. */
static void word_known(char **word, const char *const *words, const char *otherwise)
{
    assert(word != NULL);
    assert(words[0] != NULL);
    assert(otherwise != NULL);
    for (size_t i = 0; words[i] != NULL; i++) {
        if (*word != NULL && strcmp(*word, words[i]) == 0) {
            return;
        }
    }
    *word = transcode_constant(otherwise);
}

bool audit_clean(Avanta__AuditLog__AuditRow *row, struct arena *arena)
{
    static const char *const severities[] = {"low", "medium", "high", "critical", NULL};
    static const char *const statuses[] = {"success", "failed", "partial", NULL};
    char **const words[] = {&row->actor,
                            &row->action_type,
                            &row->entity_type,
                            &row->entity_id,
                            &row->ip_address,
                            &row->session,
                            &row->request,
                            &row->service,
                            &row->method,
                            &row->trace,
                            &row->credential};
    bool fits = true;

    assert(row != NULL);
    assert(row->owner != NULL);
    assert(arena != NULL);
    if (!uuid_valid(str_from(row->owner))) {
        row->actor = row->actor == NULL ? row->owner : row->actor;
        row->owner = transcode_constant(AUDIT_OWNER_UNKNOWN);
    }
    word_known(&row->severity, severities, "high");
    word_known(&row->status, statuses, "partial");
    row->occurred_ms = row->occurred_ms < AUDIT_TIME_MS_MAX ? row->occurred_ms : AUDIT_TIME_MS_MAX;
    for (size_t i = 0; i < ARRAY_LEN(words) && fits; i++) {
        fits = text_clean(words[i], AUDIT_WORD_BYTES_MAX, arena);
    }
    return fits && text_clean(&row->agent, AUDIT_AGENT_BYTES_MAX, arena) &&
           (row->before == NULL || text_clean(&row->before, AUDIT_DETAILS_BYTES_MAX, arena)) &&
           text_clean(&row->details, AUDIT_DETAILS_BYTES_MAX, arena);
}
