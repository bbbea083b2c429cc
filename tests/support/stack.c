#include "tests/support/stack.h"

#include "libcommon/base/buf.h"

#include <ctype.h>
#include <curl/curl.h>
#include <glob.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_BYTES    512
#define VALUE_BYTES   256
#define READY_POLLS   500
#define READY_POLL_US 20000

static char directory[PATH_BYTES];
static char url[VALUE_BYTES];
static bool own; /* false: somebody else's, only talked to */

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    (void)close(fd);
    return ntohs(address.sin_port);
}

/* Runs a script of deploy/ with the stack's variables, its words going to the test's output. */
static int script(const char *name)
{
    char path[PATH_BYTES];
    char *argv[] = {path, NULL};
    pid_t pid = -1;
    int status = -1;

    (void)snprintf(path, sizeof path, "deploy/%s", name);
    assert_int_equal(setenv("STATE", directory, 1), 0);
    if (posix_spawn(&pid, path, NULL, NULL, argv, environ) != 0) {
        return -1;
    }
    if (waitpid(pid, &status, 0) != pid) {
        return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void stack_gateway_settings(const char *settings)
{
    assert_int_equal(setenv("GATEWAY_SETTINGS", settings, 1), 0);
}

void stack_audit_log_settings(const char *settings)
{
    assert_int_equal(setenv("AUDIT_LOG_SETTINGS", settings, 1), 0);
}

/* All users of a test come from one address. */
#define MANY_REGISTRATIONS "AVANTA_REGISTRATIONS_MAX=1000000"

void stack_identity_settings(const char *settings)
{
    char text[2 * PATH_BYTES];

    (void)snprintf(text, sizeof text, MANY_REGISTRATIONS " %s", settings);
    assert_int_equal(setenv("IDENTITY_SETTINGS", text, 1), 0);
}

void stack_ledger_settings(const char *settings)
{
    assert_int_equal(setenv("LEDGER_SETTINGS", settings, 1), 0);
}

static int use_running(void)
{
    const char *given = getenv("AVANTA_URL");

    if (given == NULL) {
        fail_msg("AVANTA_BUILD names the directory with bin/, or AVANTA_URL a running stack");
    }
    (void)snprintf(url, sizeof url, "%s", given);
    return 0;
}

int stack_setup(void **state)
{
    const char *build = getenv("AVANTA_BUILD");
    char value[PATH_BYTES];
    int port = 0;

    (void)state;
    own = build != NULL;
    if (!own) {
        return use_running();
    }
    (void)snprintf(directory, sizeof directory, "/tmp/avanta-e2e-XXXXXX");
    assert_non_null(mkdtemp(directory));
    assert_int_equal(setenv("IDENTITY_SETTINGS", MANY_REGISTRATIONS, 0), 0);
    (void)snprintf(value, sizeof value, "%s/bin", build);
    assert_int_equal(setenv("BIN", value, 1), 0);
    port = free_port();
    (void)snprintf(value, sizeof value, "%d", port);
    assert_int_equal(setenv("PORT", value, 1), 0);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
    stack_up();
    return 0;
}

void stack_up(void)
{
    assert_true(own);
    if (script("up.sh") != 0) {
        (void)script("down.sh");
        fail_msg("the stack did not come up; see %s/log", directory);
    }
}

/* True when the log holds a report of a sanitizer; it is shown from there on. */
static bool report_found(const char *path)
{
    char line[1024];
    bool found = false;
    FILE *log = fopen(path, "r");

    assert_non_null(log);
    while (fgets(line, sizeof line, log) != NULL) {
        found =
            found || strstr(line, "Sanitizer") != NULL || strstr(line, "runtime error:") != NULL;
        if (found) {
            (void)fputs(line, stderr);
        }
    }
    (void)fclose(log);
    return found;
}

static int reports_count(void)
{
    char pattern[PATH_BYTES + 16];
    glob_t logs;
    int count = 0;

    (void)snprintf(pattern, sizeof pattern, "%s/log/*.log", directory);
    assert_int_equal(glob(pattern, 0, NULL, &logs), 0);
    for (size_t i = 0; i < logs.gl_pathc; i++) {
        count += report_found(logs.gl_pathv[i]) ? 1 : 0;
    }
    globfree(&logs);
    return count;
}

static bool second_stop(void);

int stack_teardown(void **state)
{
    char rm[] = "rm";
    char recursive[] = "-rf";
    char *argv[] = {rm, recursive, directory, NULL};
    pid_t pid = -1;
    int status = 0;
    int stopped = 0;

    (void)state;
    if (!own) {
        return 0;
    }
    if (!second_stop()) {
        (void)fprintf(stderr, "the second gateway did not stop cleanly\n");
        return 1;
    }
    stopped = script("down.sh");
    if (stopped != 0) {
        (void)fprintf(stderr, "the stack did not stop cleanly; see %s/log\n", directory);
        return stopped;
    }
    if (reports_count() > 0) {
        return 1;
    }
    assert_int_equal(posix_spawnp(&pid, "rm", NULL, NULL, argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return 0;
}

const char *stack_url(void)
{
    return url;
}

static bool value_read(const char *file, const char *name, char out[VALUE_BYTES])
{
    char path[PATH_BYTES + 16];
    char line[VALUE_BYTES];
    size_t length = strlen(name);
    bool found = false;
    FILE *f = NULL;

    (void)snprintf(path, sizeof path, "%s/%s", directory, file);
    f = fopen(path, "r");
    assert_non_null(f);
    while (!found && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, name, length) == 0 && line[length] == '=') {
            line[strcspn(line, "\n")] = '\0';
            memcpy(out, line + length + 1, strlen(line + length + 1) + 1);
            found = true;
        }
    }
    (void)fclose(f);
    return found;
}

const char *stack_value(const char *name)
{
    static char value[VALUE_BYTES];

    if (!own) {
        const char *given = getenv(name);

        if (given == NULL) {
            fail_msg("%s of the running stack is not set", name);
        }
        return given;
    }
    if (!value_read("env", name, value) && !value_read("admin.env", name, value)) {
        fail_msg("the stack has no %s", name);
    }
    return value;
}

pid_t stack_pid(const char *program)
{
    char path[PATH_BYTES + 32];
    char text[32] = "";
    int64_t pid = 0;
    FILE *f = NULL;

    assert_true(own);
    (void)snprintf(path, sizeof path, "%s/%s.pid", directory, program);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    (void)fclose(f);
    text[strcspn(text, "\n")] = '\0';
    assert_true(str_to_int64(str_from(text), &pid) && pid > 1);
    return (pid_t)pid;
}

static bool file_holds(const char *path, const char *text)
{
    char line[4096];
    bool found = false;
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    while (!found && fgets(line, sizeof line, file) != NULL) {
        found = strstr(line, text) != NULL;
    }
    (void)fclose(file);
    return found;
}

bool stack_logged(const char *program, const char *text)
{
    char path[PATH_BYTES + 32];

    assert_true(own);
    (void)snprintf(path, sizeof path, "%s/log/%s.log", directory, program);
    return file_holds(path, text);
}

bool stack_logged_anywhere(const char *text)
{
    char pattern[PATH_BYTES + 16];
    glob_t logs;
    bool found = false;

    assert_true(own);
    (void)snprintf(pattern, sizeof pattern, "%s/log/*.log", directory);
    assert_int_equal(glob(pattern, 0, NULL, &logs), 0);
    (void)snprintf(pattern, sizeof pattern, "%s/postgres/log", directory);
    assert_int_equal(glob(pattern, GLOB_APPEND, NULL, &logs), 0);
    assert_true(logs.gl_pathc >= 6);
    for (size_t i = 0; i < logs.gl_pathc; i++) {
        if (file_holds(logs.gl_pathv[i], text)) {
            print_error("%s is in %s\n", text, logs.gl_pathv[i]);
            found = true;
        }
    }
    globfree(&logs);
    return found;
}

/* --- pages --- */

struct text {
    char *out;
    size_t cap;
    size_t len;
};

static size_t take_text(char *data, size_t size, size_t count, void *ctx)
{
    struct text *text = ctx;
    size_t room = text->cap - 1 - text->len;
    size_t taken = size * count < room ? size * count : room;

    memcpy(text->out + text->len, data, taken);
    text->len += taken;
    return size * count;
}

static long page_get(const char *address, char *out, size_t cap)
{
    CURL *curl = curl_easy_init();
    struct text text = {out, cap, 0};
    long status = 0;

    assert_non_null(curl);
    (void)curl_easy_setopt(curl, CURLOPT_URL, address);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 5000L);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_text);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, &text);
    if (curl_easy_perform(curl) == CURLE_OK) {
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    }
    curl_easy_cleanup(curl);
    out[text.len] = '\0';
    return status;
}

/* --- a second gateway --- */

static pid_t second;
static char second_url[VALUE_BYTES];

static void setting(char **environment, size_t at, const char *name, const char *value)
{
    size_t bytes = strlen(name) + strlen(value) + 2;

    environment[at] = malloc(bytes);
    assert_non_null(environment[at]);
    (void)snprintf(environment[at], bytes, "%s=%s", name, value);
}

/* Polls until the gateway says that it is ready. */
static void second_wait(void)
{
    char address[VALUE_BYTES + 32];
    char page[1024];

    (void)snprintf(address, sizeof address, "%s/api/health/ready", second_url);
    for (int i = 0; i < READY_POLLS; i++) {
        if (page_get(address, page, sizeof page) == 200) {
            return;
        }
        (void)usleep(READY_POLL_US);
    }
    fail_msg("the second gateway is not ready; it answers %s", page);
}

const char *stack_second_gateway(void)
{
    static const char *const same[][2] = {
        {"AVANTA_NATS_PASSWORD",          "NATS_GATEWAY_PASSWORD" },
        {"AVANTA_ENVELOPE_KEY_IDENTITY",  "ENVELOPE_KEY_IDENTITY" },
        {"AVANTA_ENVELOPE_KEY_LEDGER",    "ENVELOPE_KEY_LEDGER"   },
        {"AVANTA_ENVELOPE_KEY_AUDIT_LOG", "ENVELOPE_KEY_AUDIT_LOG"},
    };
    char *environment[16] = {NULL};
    char path[PATH_BYTES];
    char text[PATH_BYTES];
    char *argv[] = {path, NULL};
    int port = free_port();
    size_t count = ARRAY_LEN(same);

    assert_true(own && second == 0);
    for (size_t i = 0; i < count; i++) {
        setting(environment, i, same[i][0], stack_value(same[i][1]));
    }
    (void)snprintf(text, sizeof text, "nats://127.0.0.1:%s", stack_value("NATS_PORT"));
    setting(environment, count++, "AVANTA_NATS_URL", text);
    (void)snprintf(text, sizeof text, "%d", port);
    setting(environment, count++, "AVANTA_HTTP_PORT", text);
    setting(environment, count++, "AVANTA_ADMIN_PORT", "0");
    setting(environment, count++, "AVANTA_STATE", directory);
    (void)snprintf(path, sizeof path, "%s/gateway", getenv("BIN"));
    assert_int_equal(posix_spawn(&second, path, NULL, NULL, argv, environment), 0);
    while (count > 0) {
        free(environment[--count]);
    }
    (void)snprintf(second_url, sizeof second_url, "http://127.0.0.1:%d", port);
    second_wait();
    return second_url;
}

static bool second_stop(void)
{
    int status = 0;

    if (second == 0) {
        return true;
    }
    assert_int_equal(kill(second, SIGTERM), 0);
    assert_int_equal(waitpid(second, &status, 0), second);
    second = 0;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* --- admin ports --- */

long stack_admin_get(const char *program, const char *path, char *out, size_t cap)
{
    char name[64];
    char address[VALUE_BYTES];

    (void)snprintf(name, sizeof name, "ADMIN_%s", program);
    for (char *at = name; *at != '\0'; at++) {
        *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
    }
    (void)snprintf(address, sizeof address, "http://127.0.0.1:%s%s", stack_value(name), path);
    return page_get(address, out, cap);
}

int64_t stack_metric(const char *program, const char *series)
{
    static char page[256 * 1024];
    size_t length = strlen(series);
    int64_t value = 0;

    assert_int_equal(stack_admin_get(program, "/metrics", page, sizeof page), 200);
    for (char *line = page; line != NULL; line = strchr(line, '\n')) {
        line += line == page ? 0 : 1;
        if (strncmp(line, series, length) == 0 && line[length] == ' ') {
            struct str number = {line + length + 1, strcspn(line + length + 1, "\n")};

            assert_true(str_to_int64(number, &value));
            return value;
        }
    }
    fail_msg("%s has no %s", program, series);
    return 0;
}
