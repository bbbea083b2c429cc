#include "tests/support/tool.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char scratch_directory[TOOL_PATH_BYTES];

/* build/MODE, as make tells every test. */
static const char *build_directory(void)
{
    const char *build = getenv("AVANTA_BUILD");

    if (build == NULL) {
        fail_msg("AVANTA_BUILD does not name the build directory");
    }
    return build;
}

static struct tool_path joined(const char *a, const char *b)
{
    struct tool_path path;
    int len = snprintf(path.text, sizeof(path.text), "%s%s", a, b);

    assert_in_range(len, 1, (int)sizeof(path.text) - 1);
    return path;
}

static struct tool_path in_directory(const char *directory, const char *name)
{
    return joined(joined(directory, "/").text, name);
}

struct tool_path tool_scratch(const char *name)
{
    return in_directory(scratch_directory, name);
}

static struct tool_path tool_source(const char *name)
{
    struct tool_path root = in_directory(build_directory(), "../..");

    return in_directory(root.text, name);
}

void tool_add(struct tool_args *args, const char *arg)
{
    assert_in_range(args->count, 0, TOOL_ARGS_MAX - 2); /* the last one stays NULL */
    args->argv[args->count++] = arg;
}

int tool_setup(void **state)
{
    const char *base = getenv("TMPDIR");
    struct tool_path path = in_directory(base == NULL ? "/tmp" : base, "avanta-tools-XXXXXX");

    (void)state;
    if (mkdtemp(path.text) == NULL) {
        return -1;
    }
    memcpy(scratch_directory, path.text, sizeof(scratch_directory));
    return 0;
}

void tool_write(const struct tool_path *path, const char *text)
{
    FILE *file = fopen(path->text, "wbe");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

/* As much of the file as fits, NUL-ended. */
static void read_into(const char *path, char *out, size_t cap)
{
    FILE *file = fopen(path, "rbe");
    size_t len = 0;

    if (file == NULL) {
        fail_msg("%s: %s", path, strerror(errno));
        return;
    }
    len = fread(out, 1, cap - 1, file);
    out[len] = '\0';
    (void)fclose(file);
}

const char *tool_read(const struct tool_path *path)
{
    static char text[16 * TOOL_TEXT_BYTES];

    read_into(path->text, text, sizeof(text));
    return text;
}

static void redirect(posix_spawn_file_actions_t *actions, const char *path)
{
    int flags = O_WRONLY | O_CREAT | O_TRUNC;

    assert_int_equal(posix_spawn_file_actions_init(actions), 0);
    assert_int_equal(posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, path, flags, 0600),
                     0);
    assert_int_equal(posix_spawn_file_actions_adddup2(actions, STDOUT_FILENO, STDERR_FILENO), 0);
}

static int tool_run(struct tool_args *args, const char **text)
{
    static char said[TOOL_TEXT_BYTES];
    char *argv[TOOL_ARGS_MAX];
    struct tool_path output = tool_scratch("said");
    posix_spawn_file_actions_t actions;
    pid_t child = 0;
    int status = 0;

    /* posix_spawn takes char *, and changes nothing. */
    memcpy(argv, args->argv, sizeof(argv));
    redirect(&actions, output.text);
    assert_int_equal(posix_spawnp(&child, argv[0], &actions, NULL, argv, environ), 0);
    assert_int_equal(posix_spawn_file_actions_destroy(&actions), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    *text = "";
    if (access(output.text, R_OK) == 0) { /* not after `rm -r` of the directory itself */
        read_into(output.text, said, sizeof(said));
        *text = said;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int tool_teardown(void **state)
{
    struct tool_args args = {0};
    const char *text = NULL;

    (void)state;
    tool_add(&args, "rm");
    tool_add(&args, "-r");
    tool_add(&args, scratch_directory);
    return tool_run(&args, &text);
}

int tool_host(const char *name, struct tool_args *args, const char **text)
{
    struct tool_path host = in_directory(build_directory(), "../host");
    struct tool_path program = in_directory(host.text, name);
    struct tool_args all = {0};

    tool_add(&all, program.text);
    for (size_t i = 0; i < args->count; i++) {
        tool_add(&all, args->argv[i]);
    }
    return tool_run(&all, text);
}

void *tool_load(const char *library, const char *const *sources, size_t count)
{
    struct tool_path output = tool_scratch(library);
    struct tool_path root = tool_source(".");
    struct tool_path files[TOOL_ARGS_MAX];
    const char *fixed[] = {"cc",
                           "-std=c17",
                           "-D_GNU_SOURCE",
                           "-Wall",
                           "-Werror",
                           "-shared",
                           "-fPIC",
                           "-I",
                           root.text,
                           "-I",
                           scratch_directory,
                           "-o",
                           output.text};
    struct tool_args args = {0};
    const char *text = NULL;
    void *loaded = NULL;

    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        tool_add(&args, fixed[i]);
    }
    for (size_t i = 0; i < count; i++) {
        files[i] = tool_scratch(sources[i]);
        tool_add(&args, files[i].text);
    }
    tool_add(&args, "-lprotobuf-c");
    if (tool_run(&args, &text) != 0) {
        fail_msg("the generated C does not compile:\n%s", text);
    }
    loaded = dlopen(output.text, RTLD_NOW | RTLD_LOCAL);
    if (loaded == NULL) {
        fail_msg("%s", dlerror());
    }
    return loaded;
}

void tool_holds(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("missing: %s\nin:\n%s", part, text);
    }
}

void *tool_symbol(void *library, const char *name)
{
    void *symbol = dlsym(library, name);

    if (symbol == NULL) {
        fail_msg("%s is not defined", name);
    }
    return symbol;
}

/* protoc on a file of tests/proto, or one that those import; `more` may be NULL. */
static void protoc(const char *option, const char *more, const char *proto)
{
    struct tool_path ours = joined("-I", tool_source("tests/proto").text);
    struct tool_path vocabulary = joined("-I", tool_source("proto").text);
    struct tool_args args = {0};
    const char *text = NULL;

    tool_add(&args, "protoc");
    tool_add(&args, ours.text);
    tool_add(&args, vocabulary.text);
    tool_add(&args, "-I/usr/include");
    tool_add(&args, option);
    if (more != NULL) {
        tool_add(&args, more);
    }
    tool_add(&args, proto);
    if (tool_run(&args, &text) != 0) {
        fail_msg("protoc: %s", text);
    }
}

struct tool_path tool_descriptor_set(const char *proto)
{
    struct tool_path set = tool_scratch("set.pb");
    struct tool_path option = joined("--descriptor_set_out=", set.text);

    protoc(option.text, "--include_imports", proto);
    return set;
}

void tool_protobuf_c(const char *proto)
{
    struct tool_path option = joined("--c_out=", scratch_directory);

    protoc(option.text, NULL, proto);
}

int tool_apigen(const char *kind,
                const struct tool_path *set,
                const char *out,
                const char *argument,
                const char **text)
{
    struct tool_path path = tool_scratch(out);
    struct tool_args args = {0};

    tool_add(&args, kind);
    tool_add(&args, set->text);
    tool_add(&args, path.text);
    if (argument != NULL) {
        tool_add(&args, argument);
    }
    return tool_host("apigen", &args, text);
}
