/*
 * A text is taken apart twice. Pieces end at white space, quotes and brackets; a piece is masked
 * whole when it has an '@'. Words are runs of letters, digits, '_', '+' and '-' within a piece;
 * most secrets show in one word.
 */
#include "libcommon/base/log_mask.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

#define API_KEY_SHOWN    16 /* "avk_" and the prefix that people are told */
#define TOKEN_BYTES_MIN  16 /* that begin like the head of a JWT */
#define RANDOM_BYTES_MIN 40
#define HEX_BYTES_MIN    48
#define CARD_DIGITS_MIN  16
#define CARD_DIGITS_MAX  19
#define RFC_BYTES        13
#define CURP_BYTES       18
#define CODE_LETTERS     4 /* of RFC and CURP, before a date of six digits */
#define CODE_DIGITS      6

/* --- names ------------------------------------------------------------------------ */

#define NAMES_MAX 7 /* of one first letter, with the NULL behind them */

/* clang-format off */
/* Keys of fields, by their first letter. Also the keys that end in one or contain it between
 * underscores. */
static const char *const personal_names[26][NAMES_MAX] = {
    ['a' - 'a'] = {"address", "account_number"},
    ['b' - 'a'] = {"birth", "birthday", "birthdate", "body"},
    ['c' - 'a'] = {"client_ip", "curp", "clabe", "card"},
    ['e' - 'a'] = {"email"},
    ['f' - 'a'] = {"firstname", "fullname"},
    ['i' - 'a'] = {"iban", "ip"},
    ['l' - 'a'] = {"lastname"},
    ['m' - 'a'] = {"mail"},
    ['n' - 'a'] = {"name", "names", "nombre"},
    ['p' - 'a'] = {"phone"},
    ['q' - 'a'] = {"query"},
    ['r' - 'a'] = {"rfc"},
    ['s' - 'a'] = {"surname"},
    ['t' - 'a'] = {"telephone"},
    ['u' - 'a'] = {"username", "user_agent"},
};

/* The same, and what follows them in a text ("password=...") is masked to its end. */
static const char *const secret_names[26][NAMES_MAX] = {
    ['a' - 'a'] = {"authorization", "api_key", "apikey"},
    ['c' - 'a'] = {"cookie", "credential", "credentials"},
    ['d' - 'a'] = {"dsn"},
    ['j' - 'a'] = {"jwt"},
    ['o' - 'a'] = {"otp"},
    ['p' - 'a'] = {"password", "passwd", "passphrase", "pwd", "private_key"},
    ['s' - 'a'] = {"secret", "secrets", "salt", "signature"},
    ['t' - 'a'] = {"token", "tokens", "totp"},
};
/* clang-format on */

static char lower(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (char)(c - 'A' + 'a');
    }
    return c;
}

static bool is_name_end(char c)
{
    return c == '\0' || c == '_' || c == '-';
}

/* The name stands at the beginning of `at`, up to the end of a part of the key. */
static bool begins_with(const char *name, struct str at)
{
    size_t i = 0;

    while (i < at.len && name[i] != '\0' && (lower(at.ptr[i]) == name[i])) {
        i++;
    }
    return name[i] == '\0' && (i == at.len || is_name_end(at.ptr[i]));
}

static bool begins_with_any(const char *const names[26][NAMES_MAX], struct str at)
{
    char first = '\0';

    if (at.len > 0) {
        first = lower(at.ptr[0]);
    }
    if (first < 'a' || first > 'z') {
        return false;
    }
    for (const char *const *name = names[first - 'a']; *name != NULL; name++) {
        if (begins_with(*name, at)) {
            return true;
        }
    }
    return false;
}

static bool has_part(const char *const names[26][NAMES_MAX], struct str key)
{
    for (size_t i = 0; i < key.len; i++) {
        if ((i == 0 || is_name_end(key.ptr[i - 1])) &&
            begins_with_any(names, (struct str){key.ptr + i, key.len - i})) {
            return true;
        }
    }
    return false;
}

bool log_mask_key(const char *key)
{
    assert(key != NULL);
    return has_part(secret_names, str_from(key)) || has_part(personal_names, str_from(key));
}

/* --- words -------------------------------------------------------------------------- */

enum kind {
    KIND_END,   /* of a piece */
    KIND_OTHER, /* of a word, but not of its piece */
    KIND_LOWER,
    KIND_UPPER,
    KIND_DIGIT,
    KIND_JOIN, /* '_', '+', '-' */
    KIND_HIGH, /* of a character beyond ASCII */
    KIND_COUNT
};

/* clang-format off */
#define E KIND_END
#define O KIND_OTHER
#define L KIND_LOWER
#define U KIND_UPPER
#define D KIND_DIGIT
#define J KIND_JOIN
#define H KIND_HIGH
#define H16 H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H
static const uint8_t kinds[256] = {
    E, E, E, E, E, E, E, E, E, E, E, E, E, E, E, E,
    E, E, E, E, E, E, E, E, E, E, E, E, E, E, E, E,
    E, O, E, O, O, O, O, E, E, E, O, J, E, J, O, O, /*  !"#$%&'()*+,-./ */
    D, D, D, D, D, D, D, D, D, D, O, E, E, O, E, O, /* 0123456789:;<=>? */
    O, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, /* @ABCDEFGHIJKLMNO */
    U, U, U, U, U, U, U, U, U, U, U, E, O, E, O, J, /* PQRSTUVWXYZ[\]^_ */
    E, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, /* `abcdefghijklmno */
    L, L, L, L, L, L, L, L, L, L, L, E, E, E, O, E, /* pqrstuvwxyz{|}~  */
    H16, H16, H16, H16, H16, H16, H16, H16,
};
#undef E
#undef O
#undef L
#undef U
#undef D
#undef J
#undef H
#undef H16
/* clang-format on */

static enum kind kind_of(char c)
{
    return (enum kind)kinds[(unsigned char)c];
}

static bool is_hex(struct str word)
{
    for (size_t i = 0; i < word.len; i++) {
        char c = lower(word.ptr[i]);

        if (kind_of(c) != KIND_DIGIT && (c < 'a' || c > 'f')) {
            return false;
        }
    }
    return true;
}

/* RFC of a person, or CURP: four letters, a date, and more letters and digits. */
static bool is_tax_id(struct str word)
{
    if (word.len != RFC_BYTES && word.len != CURP_BYTES) {
        return false;
    }
    for (size_t i = 0; i < word.len; i++) {
        enum kind kind = kind_of(word.ptr[i]);
        bool date = i >= CODE_LETTERS && i < CODE_LETTERS + CODE_DIGITS;

        if (date ? kind != KIND_DIGIT : kind != KIND_UPPER && kind != KIND_DIGIT) {
            return false;
        }
        if (i < CODE_LETTERS && kind != KIND_UPPER) {
            return false;
        }
    }
    return true;
}

static bool is_secret_word(struct str word, const size_t counts[KIND_COUNT])
{
    if (str_starts(word, STR("avk_"))) {
        return word.len > API_KEY_SHOWN;
    }
    if (counts[KIND_DIGIT] == word.len) {
        return word.len >= CARD_DIGITS_MIN && word.len <= CARD_DIGITS_MAX;
    }
    if (word.len >= RANDOM_BYTES_MIN && counts[KIND_LOWER] > 0 && counts[KIND_UPPER] > 0 &&
        counts[KIND_DIGIT] > 0) {
        return true;
    }
    return (word.len >= HEX_BYTES_MIN && is_hex(word)) || is_tax_id(word);
}

static bool is_scheme(struct str word)
{
    return str_eq_nocase(word, STR("bearer")) || str_eq_nocase(word, STR("basic"));
}

/* --- texts ------------------------------------------------------------------------------ */

struct scan {
    struct str text;
    size_t at;
    size_t copied; /* of the text, into `out` or left out of it */
    struct buf out;
    struct str word; /* the last one */
};

/* The text up to there, as far as there is room. */
static void copy(struct scan *scan, size_t to)
{
    struct str part = str_sub(scan->text, scan->copied, to);
    struct str fits = utf8_cut(part, scan->out.cap - scan->out.len);

    assert(to >= scan->copied);
    assert(to <= scan->text.len);
    if (!scan->out.overflow) {
        buf_str(&scan->out, fits);
        scan->out.overflow = fits.len < part.len;
    }
    scan->copied = to;
}

static void mask(struct scan *scan, size_t from, size_t to)
{
    copy(scan, from);
    buf_text(&scan->out, LOG_MASK);
    scan->copied = to;
    scan->at = to;
}

/* The end of the piece that begins here, and whether an '@' makes it one to mask. */
static size_t piece_end(const struct scan *scan, bool *out_secret)
{
    struct str text = scan->text;
    size_t at = scan->at;

    *out_secret = str_starts(str_sub(text, at, text.len), STR("$argon2"));
    if (*out_secret) {
        return text.len; /* salt and digest stand behind commas */
    }
    for (; at < text.len && kind_of(text.ptr[at]) != KIND_END; at++) {
        if (text.ptr[at] == '@' ||
            (text.ptr[at] == '%' && str_starts(str_sub(text, at + 1, text.len), STR("40")))) {
            *out_secret = true;
        }
    }
    return at;
}

/* What stands between the last word and this one says that this is the value of that. */
static bool is_value(const struct scan *scan, size_t from)
{
    const char *end = scan->word.ptr + scan->word.len;
    struct str between = {end, (size_t)(scan->text.ptr + from - end)};

    for (size_t i = 0; i < between.len; i++) {
        if (between.ptr[i] == '=' || between.ptr[i] == ':') {
            return true;
        }
    }
    return false;
}

/* The words of one piece. False: all that follows is masked. */
static bool scan_piece(struct scan *scan, size_t end)
{
    while (scan->at < end) {
        size_t counts[KIND_COUNT] = {0};
        size_t from = scan->at;
        struct str word;

        for (; scan->at < end && kind_of(scan->text.ptr[scan->at]) != KIND_OTHER; scan->at++) {
            counts[kind_of(scan->text.ptr[scan->at])]++;
        }
        word = str_sub(scan->text, from, scan->at);
        if (word.len == 0) {
            scan->at++;
            continue;
        }
        if (scan->word.len > 0 && is_value(scan, from) && has_part(secret_names, scan->word) &&
            !is_scheme(word)) {
            mask(scan, from, scan->text.len);
            return false;
        }
        if ((str_starts(word, STR("eyJ")) && word.len >= TOKEN_BYTES_MIN) ||
            is_scheme(scan->word)) {
            mask(scan, from, end);
        } else if (is_secret_word(word, counts)) {
            mask(scan, from, scan->at);
        }
        scan->word = word;
    }
    return true;
}

/* A text that is too long loses its last piece with the rest: half a secret is not known as one. */
static struct str bounded(struct str text, bool *out_cut)
{
    struct str seen = utf8_cut(text, LOG_MASK_SCAN_MAX);
    size_t end = seen.len;

    if (seen.len == text.len) {
        return text;
    }
    *out_cut = true;
    while (end > 0 && kind_of(seen.ptr[end - 1]) != KIND_END) {
        end--;
    }
    return end == 0 ? seen : str_sub(seen, 0, end);
}

static void scan_all(struct scan *scan)
{
    bool go_on = true;

    while (go_on && scan->at < scan->text.len) {
        bool secret = false;
        size_t end = piece_end(scan, &secret);

        if (secret) {
            mask(scan, scan->at, end);
            scan->word = STR_EMPTY;
        } else if (end > scan->at) {
            go_on = scan_piece(scan, end);
        } else {
            scan->at++;
        }
    }
}

struct str log_mask_text(struct str text, char memory[LOG_MASK_BYTES], bool *out_cut)
{
    struct scan scan = {.out = buf_over(memory, LOG_MASK_BYTES), .word = STR_EMPTY};

    assert(memory != NULL);
    assert(out_cut != NULL);
    *out_cut = false;
    scan.text = bounded(text, out_cut);
    scan_all(&scan);
    if (scan.copied == 0) {
        return scan.text;
    }
    copy(&scan, scan.text.len);
    *out_cut = *out_cut || scan.out.overflow;
    return buf_view(&scan.out);
}

void log_mask_into(struct str text, struct buf *out)
{
    struct scan scan = {.text = text, .out = *out, .word = STR_EMPTY};

    assert(out != NULL);
    scan_all(&scan);
    copy(&scan, text.len);
    *out = scan.out;
}

/* --- addresses ----------------------------------------------------------------------- */

void log_mask_address(struct str address, char out[LOG_ADDRESS_BYTES])
{
    unsigned char bytes[16];
    size_t dot = 0;
    bool v4 = false;

    _Static_assert(LOG_ADDRESS_BYTES > INET6_ADDRSTRLEN, "any address fits");
    if (str_copy(address, out, LOG_ADDRESS_BYTES) && inet_pton(AF_INET, out, bytes) == 1) {
        v4 = true;
    }
    if (v4) {
        dot = (size_t)(strrchr(out, '.') - out);
        out[dot + 1] = '0';
        out[dot + 2] = '\0';
        return;
    }
    if (inet_pton(AF_INET6, out, bytes) == 1) {
        memset(bytes + 6, 0, sizeof bytes - 6);
        if (inet_ntop(AF_INET6, bytes, out, LOG_ADDRESS_BYTES) != NULL) {
            return;
        }
    }
    (void)str_copy(STR("-"), out, LOG_ADDRESS_BYTES);
}
