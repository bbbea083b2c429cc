#include "services/identity/totp.h"

#include "libcommon/base/id.h"

#include <assert.h>
#include <liboath/oath.h>
#include <string.h>

#define RECOVERY_RANDOM_BYTES 15
#define RECOVERY_CHARS        24 /* without hyphens */
#define RECOVERY_GROUP        4

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

enum code totp_open(struct err *err)
{
    return oath_init() == OATH_OK ? OK : err_set(err, ERR_INTERNAL, "liboath does not start");
}

void totp_close(void)
{
    (void)oath_done();
}

void base32_encode(const uint8_t *bytes, size_t len, char *out)
{
    size_t at = 0;

    assert(len % 5 == 0);
    assert(out != NULL);
    for (size_t i = 0; i < len; i += 5) {
        uint64_t group = 0;

        for (size_t k = 0; k < 5; k++) {
            group = group << 8 | bytes[i + k];
        }
        for (size_t k = 0; k < 8; k++) {
            out[at++] = alphabet[group >> (35 - 5 * k) & 31];
        }
    }
    assert(at == len / 5 * 8);
    out[at] = '\0';
}

/* --- codes of an app --- */

static bool is_code(struct str code)
{
    assert(code.ptr != NULL);
    if (code.len != TOTP_DIGITS) {
        return false;
    }
    for (size_t i = 0; i < code.len; i++) {
        if (code.ptr[i] < '0' || code.ptr[i] > '9') {
            return false;
        }
    }
    return true;
}

static bool is_of_step(const uint8_t seed[TOTP_SEED_BYTES], struct str code, uint64_t step)
{
    char wanted[TOTP_DIGITS + 1] = "";
    bool same = false;

    assert(code.len == TOTP_DIGITS);
    if (oath_hotp_generate((const char *)seed,
                           TOTP_SEED_BYTES,
                           step,
                           TOTP_DIGITS,
                           false,
                           OATH_HOTP_DYNAMIC_TRUNCATION,
                           wanted) == OATH_OK) {
        assert(wanted[TOTP_DIGITS] == '\0');
        same = bytes_eq_constant_time(wanted, code.ptr, TOTP_DIGITS);
    }
    explicit_bzero(wanted, sizeof wanted);
    return same;
}

bool totp_match(const uint8_t seed[TOTP_SEED_BYTES],
                struct str code,
                uint64_t now_s,
                uint64_t *out_step)
{
    const uint64_t now = now_s / TOTP_STEP_S;
    uint64_t found = 0;

    assert(now > 0);
    assert(out_step != NULL);
    if (!is_code(code)) {
        return false;
    }
    for (uint64_t step = now - 1; step <= now + 1; step++) { /* all, so that none takes longer */
        found = is_of_step(seed, code, step) ? step : found;
    }
    *out_step = found;
    return found > 0;
}

/* --- for a QR code --- */

/* RFC 3986, 2.3: what needs no escape anywhere. */
static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-._~", c) != NULL);
}

static void percent_encode(struct buf *out, struct str text)
{
    assert(text.ptr != NULL);
    for (size_t i = 0; i < text.len; i++) {
        if (is_unreserved(text.ptr[i])) {
            buf_char(out, text.ptr[i]);
        } else {
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)text.ptr[i]);
        }
    }
}

void totp_uri(struct buf *out, struct str issuer, struct str account, struct str secret)
{
    assert(issuer.len > 0);
    assert(secret.len == TOTP_SECRET_BYTES - 1);
    buf_text(out, "otpauth://totp/");
    percent_encode(out, issuer);
    buf_char(out, ':');
    percent_encode(out, account);
    buf_text(out, "?secret=");
    buf_str(out, secret);
    buf_text(out, "&issuer=");
    percent_encode(out, issuer);
    buf_printf(out, "&algorithm=SHA1&digits=%d&period=%d", TOTP_DIGITS, TOTP_STEP_S);
}

/* --- recovery codes --- */

void recovery_code_make(char out[RECOVERY_CODE_BYTES])
{
    uint8_t bytes[RECOVERY_RANDOM_BYTES];
    char text[RECOVERY_CHARS + 1];
    struct buf code = buf_over(out, RECOVERY_CODE_BYTES);

    random_bytes(bytes, sizeof bytes);
    base32_encode(bytes, sizeof bytes, text);
    for (size_t i = 0; i < RECOVERY_CHARS; i += RECOVERY_GROUP) {
        if (i > 0) {
            buf_char(&code, '-');
        }
        buf_append(&code, text + i, RECOVERY_GROUP);
    }
    explicit_bzero(bytes, sizeof bytes);
    explicit_bzero(text, sizeof text);
    assert(code.len == RECOVERY_CODE_BYTES - 1);
    (void)buf_terminate(&code);
}

/* ASCII, in no locale. */
static char upper(char c)
{
    static const char small[] = "abcdefghijklmnopqrstuvwxyz";
    const char *at = c == '\0' ? NULL : strchr(small, c);

    if (at != NULL) {
        c = alphabet[at - small];
    }
    return c;
}

bool recovery_code_hash(struct str text, uint8_t out[SHA256_BYTES])
{
    char code[RECOVERY_CHARS];
    size_t len = 0;
    bool good = true;

    assert(text.ptr != NULL);
    assert(out != NULL);
    for (size_t i = 0; good && i < text.len; i++) {
        char c = text.ptr[i];

        if (c == '-' || c == ' ') {
            continue;
        }
        c = upper(c);
        good = len < RECOVERY_CHARS && c != '\0' && strchr(alphabet, c) != NULL;
        if (good) {
            code[len++] = c;
        }
    }
    good = good && len == RECOVERY_CHARS;
    if (good) {
        sha256((struct str){code, len}, out);
    }
    explicit_bzero(code, sizeof code);
    return good;
}
