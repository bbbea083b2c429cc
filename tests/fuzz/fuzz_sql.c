/* The SQL scanner on any bytes: its pieces are not empty, follow each other and join to the text.
 */

#include "libcommon/tools/sql_scan.h"

#include <assert.h>

/* NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct sql_scan scan;
    struct sql_piece piece;
    size_t at = 0;

    sql_scan_init(&scan, text);
    while (sql_scan_next(&scan, &piece)) {
        assert(piece.text.len > 0);
        assert(piece.text.ptr == text.ptr + at);
        assert(piece.line >= 1 && piece.line <= at + 1);
        at += piece.text.len;
        assert(piece.kind != SQL_ERROR || (scan.error != NULL && at == size));
        if (piece.kind == SQL_PARAMETER) {
            struct str name = sql_parameter_name(&piece);
            assert(name.len > 0 && name.len <= SQL_PARAMETER_NAME_BYTES_MAX);
        }
    }
    assert(at == size);
    return 0;
}
