#include "services/ledger/import_items.h"

#include "libcommon/base/limits.h"
#include "libcommon/codec/json_write.h"

#include <assert.h>

#define ITEM_BYTES_GUESS 160

static void text_field(struct json_writer *w, const char *name, const char *text)
{
    assert(w != NULL);
    assert(name != NULL);
    if (text != NULL && text[0] != '\0') {
        json_key(w, str_from(name));
        json_text(w, str_from(text));
    }
}

static void write_row(struct json_writer *w, size_t n, const Avanta__Ledger__ImportRow *row)
{
    assert(row != NULL);
    assert(row->amount > 0);
    assert(row->date != NULL);
    assert(row->description != NULL);
    json_object_begin(w);
    json_key(w, STR("n"));
    json_int64(w, (int64_t)n);
    json_key(w, STR("amount"));
    json_int64(w, row->amount);
    text_field(w, "date", row->date);
    text_field(w, "description", row->description);
    text_field(w, "type", row->type);
    text_field(w, "reference", row->reference);
    json_key(w, STR("flagged"));
    json_bool(w, row->has_is_duplicate && row->is_duplicate);
    json_object_end(w);
}

char *import_items_json(struct req *r, Avanta__Ledger__ImportRow *const *rows, size_t count)
{
    struct json_writer w;
    struct str json = STR_EMPTY;

    assert(rows != NULL || count == 0);
    json_open(&w, req_arena(r), count * ITEM_BYTES_GUESS + 16, REQUEST_ARENA_BYTES_MAX / 4);
    json_array_begin(&w);
    for (size_t i = 0; i < count; i++) {
        write_row(&w, i, rows[i]);
    }
    json_array_end(&w);
    if (json_finish(&w, &json, NULL) != OK) {
        return NULL;
    }
    assert(json.len >= 2);
    return arena_strdup(req_arena(r), json);
}
