/* What kind of device a session is on, for the list its user looks at. Never a decision. */
#include "services/identity/identity.h"

#include <assert.h>

struct mark {
    const char *mark;
    const char *name;
};

/* In order: many agents name the browsers they descend from. */
static const struct mark browsers[] = {
    {"Edg/",     "Edge"          },
    {"OPR/",     "Opera"         },
    {"Firefox/", "Firefox"       },
    {"Chrome/",  "Chrome"        },
    {"Safari/",  "Safari"        },
    {"curl/",    "curl"          },
    {"okhttp/",  "an Android app"},
    {"python",   "Python"        },
};

static const struct mark systems[] = {
    {"iPhone",    "iPhone"  },
    {"iPad",      "iPad"    },
    {"Android",   "Android" },
    {"Windows",   "Windows" },
    {"Macintosh", "macOS"   },
    {"CrOS",      "ChromeOS"},
    {"Linux",     "Linux"   },
};

static const char *find(struct str agent, const struct mark *marks, size_t count)
{
    size_t at = 0;

    assert(count > 0);
    for (size_t i = 0; i < count; i++) {
        if (str_find(agent, str_from(marks[i].mark), &at)) {
            return marks[i].name;
        }
    }
    return NULL;
}

const char *device_name(struct str user_agent, char out[DEVICE_BYTES])
{
    const char *browser = find(user_agent, browsers, ARRAY_LEN(browsers));
    const char *system = find(user_agent, systems, ARRAY_LEN(systems));
    struct buf text = buf_over(out, DEVICE_BYTES);
    bool fits = false;

    if (browser == NULL && system == NULL) {
        buf_text(&text, "Unknown device");
    } else if (browser == NULL || system == NULL) {
        buf_text(&text, browser == NULL ? system : browser);
    } else {
        buf_printf(&text, "%s on %s", browser, system);
    }
    fits = buf_terminate(&text);
    assert(fits);
    return out;
}
