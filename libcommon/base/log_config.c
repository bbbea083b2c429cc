#include "libcommon/base/log_config.h"

#include <assert.h>
#include <string.h>

static enum code refuse(const char *setting, const char *choices, struct err *err)
{
    return err_set_field(err, ERR_INVALID, setting, "%s is none of %s", setting, choices);
}

static bool ship_parse(const char *text, enum log_level *out)
{
    if (strcmp(text, "off") == 0) {
        *out = LOG_LEVEL_COUNT;
        return true;
    }
    return log_level_parse(str_from(text), out) && *out >= LOG_WARN;
}

enum code log_config_read(const char *level,
                          const char *format,
                          const char *ship,
                          struct log_options *out,
                          struct err *err)
{
    bool json = strcmp(format, "json") == 0;

    assert(out != NULL);
    if (!log_level_parse(str_from(level), &out->level)) {
        return refuse("AVANTA_LOG_LEVEL", "debug, info, warn, error", err);
    }
    if (!json && strcmp(format, "logfmt") != 0) {
        return refuse("AVANTA_LOG_FORMAT", "logfmt, json", err);
    }
    if (!ship_parse(ship, &out->ship)) {
        return refuse("AVANTA_LOG_SHIP", "off, warn, error", err);
    }
    out->format = json ? LOG_JSON : LOG_LOGFMT;
    return OK;
}
