#include "libcommon/codec/http_write.h"

#include "libcommon/base/clock.h"
#include "libcommon/codec/http_chars.h"

#include <assert.h>
#include <string.h>

#define DATE_BYTES        29  /* Sun, 06 Nov 1994 08:49:37 GMT */
#define FIXED_BYTES       256 /* status line, Date, Content-Length, Connection, empty line */
#define FIELD_EXTRA_BYTES 4   /* ": " and CRLF */
#define STATUS_MIN        200
#define STATUS_MAX        599
#define SECONDS_PER_DAY   86400
#define EPOCH_WEEKDAY     4 /* 1 January 1970 was a Thursday */

/* What OWASP's secure headers project asks of every answer, for answers that are data, not pages.
 */
/* clang-format off */
#define SECURITY_HEADERS(X)                                                                        \
    X("Strict-Transport-Security",         "max-age=63072000; includeSubDomains")                  \
    X("Content-Security-Policy",           "default-src 'none'; frame-ancestors 'none'")           \
    X("X-Content-Type-Options",            "nosniff")                                              \
    X("Referrer-Policy",                   "no-referrer")                                          \
    X("Cache-Control",                     "no-store, max-age=0")                                  \
    X("Cross-Origin-Opener-Policy",        "same-origin")                                          \
    X("Cross-Origin-Embedder-Policy",      "require-corp")                                         \
    X("Cross-Origin-Resource-Policy",      "same-origin")                                          \
    X("X-Frame-Options",                   "deny")                                                 \
    X("X-Permitted-Cross-Domain-Policies", "none")                                                 \
    X("X-DNS-Prefetch-Control",            "off")                                                  \
    X("Permissions-Policy",                                                                        \
      "accelerometer=(), autoplay=(), camera=(), cross-origin-isolated=(), display-capture=(), "   \
      "encrypted-media=(), fullscreen=(), geolocation=(), gyroscope=(), keyboard-map=(), "         \
      "magnetometer=(), microphone=(), midi=(), payment=(), picture-in-picture=(), "               \
      "publickey-credentials-get=(), screen-wake-lock=(), sync-xhr=(), usb=(), web-share=(), "     \
      "xr-spatial-tracking=(), clipboard-read=(), clipboard-write=(), gamepad=(), hid=(), "        \
      "idle-detection=(), interest-cohort=(), serial=(), unload=()")
/* clang-format on */

/* clang-format off */
#define X(name, value) name ": " value "\r\n"
static const char security_block[] = SECURITY_HEADERS(X);
#undef X

#define X(name, value) {{name, sizeof(name) - 1}, {name ": " value "\r\n", sizeof(name ": " value "\r\n") - 1}},
static const struct {
    struct str name;
    struct str line;
} security_lines[] = {SECURITY_HEADERS(X)};
#undef X
/* clang-format on */

void http_response_add(struct http_response *r, const char *name, struct str value)
{
    assert(r != NULL);
    assert(r->header_count < HTTP_RESPONSE_HEADERS_MAX);
    assert(name != NULL);
    r->headers[r->header_count] = (struct http_response_header){str_from(name), value};
    r->header_count++;
}

const char *http_status_text(uint16_t status)
{
    static const struct {
        uint16_t status;
        const char *text;
    } rows[] = {
        {200, "OK"                             },
        {201, "Created"                        },
        {202, "Accepted"                       },
        {204, "No Content"                     },
        {206, "Partial Content"                },
        {301, "Moved Permanently"              },
        {302, "Found"                          },
        {303, "See Other"                      },
        {304, "Not Modified"                   },
        {307, "Temporary Redirect"             },
        {308, "Permanent Redirect"             },
        {400, "Bad Request"                    },
        {401, "Unauthorized"                   },
        {403, "Forbidden"                      },
        {404, "Not Found"                      },
        {405, "Method Not Allowed"             },
        {406, "Not Acceptable"                 },
        {408, "Request Timeout"                },
        {409, "Conflict"                       },
        {410, "Gone"                           },
        {412, "Precondition Failed"            },
        {413, "Content Too Large"              },
        {414, "URI Too Long"                   },
        {415, "Unsupported Media Type"         },
        {416, "Range Not Satisfiable"          },
        {417, "Expectation Failed"             },
        {422, "Unprocessable Content"          },
        {428, "Precondition Required"          },
        {429, "Too Many Requests"              },
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"          },
        {501, "Not Implemented"                },
        {502, "Bad Gateway"                    },
        {503, "Service Unavailable"            },
        {504, "Gateway Timeout"                },
        {505, "HTTP Version Not Supported"     },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].status == status) {
            return rows[i].text;
        }
    }
    return "Unknown"; /* the phrase carries no meaning */
}

size_t http_head_bytes(const struct http_response *r)
{
    size_t bytes = FIXED_BYTES + sizeof(security_block) + r->content_type.len;

    assert(r->header_count <= HTTP_RESPONSE_HEADERS_MAX);
    for (uint32_t i = 0; i < r->header_count; i++) {
        bytes += r->headers[i].name.len + r->headers[i].value.len + FIELD_EXTRA_BYTES;
    }
    return bytes;
}

/* --- the date ------------------------------------------------------------------- */

static void two_digits(char *at, uint32_t value)
{
    assert(value < 100);
    at[0] = (char)('0' + (int)(value / 10));
    at[1] = (char)('0' + (int)(value % 10));
}

static void date_write(uint64_t second, char out[DATE_BYTES + 1])
{
    static const char pattern[] = "Sun, 00 Jan 0000 00:00:00 GMT";
    static const char weekdays[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    uint32_t days = (uint32_t)(second / SECONDS_PER_DAY);
    uint32_t of_day = (uint32_t)(second % SECONDS_PER_DAY);
    struct date date = date_from_days((int64_t)days);

    assert(date.month >= 1);
    assert(date.month <= 12);
    assert(out != NULL);
    memcpy(out, pattern, sizeof(pattern));
    memcpy(out, weekdays + (size_t)3 * ((days + EPOCH_WEEKDAY) % 7), 3);
    two_digits(out + 5, date.day);
    memcpy(out + 8, months + (size_t)3 * (date.month - 1U), 3);
    two_digits(out + 12, (uint32_t)date.year / 100 % 100);
    two_digits(out + 14, (uint32_t)date.year % 100);
    two_digits(out + 17, of_day / 3600);
    two_digits(out + 20, of_day / 60 % 60);
    two_digits(out + 23, of_day % 60);
}

/* Written once per second and thread, which is what makes it affordable in every answer. */
static struct str date_text(uint64_t wall_ms)
{
    static _Thread_local uint64_t cached_second = UINT64_MAX;
    static _Thread_local char cached[DATE_BYTES + 1];
    uint64_t second = wall_ms / 1000;

    if (second != cached_second) {
        date_write(second, cached);
        cached_second = second;
    }
    assert(cached[DATE_BYTES] == '\0');
    return (struct str){cached, DATE_BYTES};
}

/* --- the head ------------------------------------------------------------------- */

static enum code field_check(struct str name, struct str value, struct err *err)
{
    static const struct str framing[] = {
        {"Content-Length",    14},
        {"Transfer-Encoding", 17}
    };

    if (name.len == 0 || !http_all_of(HTTP_CLASS_TOKEN, name)) {
        return err_set(err, ERR_INTERNAL, "a response header has no valid name");
    }
    if (value.len > 0 && !http_all_of(HTTP_CLASS_VALUE, value)) {
        return err_set(
            err, ERR_INTERNAL, "response header %.*s holds a control character", STR_FMT(name));
    }
    for (size_t i = 0; i < ARRAY_LEN(framing); i++) {
        if (str_eq_nocase(name, framing[i])) {
            return err_set(
                err, ERR_INTERNAL, "response header %.*s is the writer's business", STR_FMT(name));
        }
    }
    return OK;
}

static enum code response_check(const struct http_response *r, struct err *err)
{
    enum code code = OK;

    assert(r->header_count <= HTTP_RESPONSE_HEADERS_MAX);
    if (r->status < STATUS_MIN || r->status > STATUS_MAX) {
        return err_set(err, ERR_INTERNAL, "%d is no final status", r->status);
    }
    if ((r->status == 204 || r->status == 304) && r->body.len > 0) {
        return err_set(err, ERR_INTERNAL, "an answer with status %d has no body", r->status);
    }
    if (r->content_type.len > 0) {
        code = field_check(STR("Content-Type"), r->content_type, err);
    }
    for (uint32_t i = 0; i < r->header_count && code == OK; i++) {
        code = field_check(r->headers[i].name, r->headers[i].value, err);
    }
    return code;
}

static void field_write(struct buf *out, struct str name, struct str value)
{
    assert(name.len > 0);
    buf_str(out, name);
    buf_append(out, ": ", 2);
    buf_str(out, value);
    buf_append(out, "\r\n", 2);
}

_Static_assert(ARRAY_LEN(security_lines) < 32, "one bit per security header");

/* The bit of the security header of that name; 0 when it is none. */
static uint32_t security_bit(struct str name)
{
    assert(name.len > 0);
    for (uint32_t i = 0; i < ARRAY_LEN(security_lines); i++) {
        if (str_eq_nocase(name, security_lines[i].name)) {
            return UINT32_C(1) << i;
        }
    }
    return 0;
}

/* What the response brings itself is not written twice. */
static void security_write(const struct http_response *r, struct buf *out)
{
    uint32_t given = 0;

    assert(r->header_count <= HTTP_RESPONSE_HEADERS_MAX);
    for (uint32_t i = 0; i < r->header_count; i++) {
        given |= security_bit(r->headers[i].name);
    }
    if (given == 0) {
        buf_append(out, security_block, sizeof(security_block) - 1);
        return;
    }
    for (uint32_t k = 0; k < ARRAY_LEN(security_lines); k++) {
        if ((given >> k & 1) == 0) {
            buf_str(out, security_lines[k].line);
        }
    }
}

enum code
http_write_head(const struct http_response *r, uint64_t wall_ms, struct buf *out, struct err *err)
{
    enum code code = OK;

    assert(r != NULL);
    assert(out != NULL);
    code = response_check(r, err);
    if (code != OK) {
        return code;
    }
    buf_append(out, "HTTP/1.1 ", 9);
    buf_uint64(out, r->status);
    buf_char(out, ' ');
    buf_text(out, http_status_text(r->status));
    buf_append(out, "\r\nDate: ", 8);
    buf_str(out, date_text(wall_ms));
    buf_append(out, "\r\n", 2);
    if (r->content_type.len > 0) {
        field_write(out, STR("Content-Type"), r->content_type);
    }
    if (r->status != 204 && r->status != 304) {
        buf_append(out, "Content-Length: ", 16);
        buf_uint64(out, r->body.len);
        buf_append(out, "\r\n", 2);
    }
    security_write(r, out);
    for (uint32_t i = 0; i < r->header_count; i++) {
        field_write(out, r->headers[i].name, r->headers[i].value);
    }
    if (r->close) {
        buf_append(out, "Connection: close\r\n", 19);
    }
    buf_append(out, "\r\n", 2);
    return out->overflow ? err_set(err, ERR_INTERNAL, "no room for the response head") : OK;
}
