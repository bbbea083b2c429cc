/*
 * tidy run on small trees: a good one passes, and each rule has a sample that breaks it and nothing
 * else.
 */

#include "tests/support/check.h"
#include "tests/support/tool.h"

#include "libcommon/base/attr.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FILES_MAX  4
#define TEXT_BYTES 65536

struct file {
    const char *path;
    const char *text;
};

/* The complaint without its count; NULL: none. */
struct sample {
    struct file files[FILES_MAX];
    const char *complaint;
};

static int setup(void **state)
{
    static const char *const folders[] = {"libcommon",
                                          "libcommon/base",
                                          "libcommon/codec",
                                          "libcommon/io",
                                          "gateway",
                                          "services",
                                          "services/a",
                                          "services/b",
                                          "tests",
                                          "gen"};

    if (tool_setup(state) != 0) {
        return -1;
    }
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        if (mkdir(tool_scratch(folders[i]).text, 0700) != 0) {
            return -1;
        }
    }
    return 0;
}

/* Runs tidy over the files, all of them own and built but those under gen/. */
static int run(const struct file *files, const char **text)
{
    struct tool_path list = tool_scratch("list");
    struct tool_path root = tool_scratch(".");
    struct tool_args args = {0};
    char lines[4096];
    int len = 0;

    for (size_t i = 0; i < FILES_MAX && files[i].path != NULL; i++) {
        struct tool_path path = tool_scratch(files[i].path);
        bool generated = strncmp(files[i].path, "gen/", 4) == 0;
        bool unbuilt = strstr(files[i].path, "unbuilt") != NULL;

        tool_write(&path, files[i].text);
        len += snprintf(lines + len,
                        sizeof lines - (size_t)len,
                        "%s %s\n",
                        generated ? "gen" : "own",
                        files[i].path);
        if (!generated && !unbuilt) {
            len += snprintf(lines + len, sizeof lines - (size_t)len, "built %s\n", files[i].path);
        }
    }
    assert_in_range(len, 1, (int)sizeof lines - 1);
    tool_write(&list, lines);
    tool_add(&args, root.text);
    tool_add(&args, list.text);
    return tool_host("tidy", &args, text);
}

static void runs_as_it_says(size_t row, const struct sample *sample)
{
    const char *text = NULL;
    int status = run(sample->files, &text);

    if (sample->complaint == NULL) {
        tool_holds(text, "  0 complaints");
        assert_int_equal(status, 0);
        return;
    }
    tool_holds(text, sample->complaint);
    tool_holds(text, "  1 complaints");
    assert_row(row, status == 1);
}

#define MAIN "int main(void)\n{\n    return 0;\n}\n"
/* A header and its source in production, and who uses them. */
#define HEADER "#pragma once\n/* What it is. */\nint x_do(int a);\n"
#define SOURCE                                                                    \
    "#include \"libcommon/base/x.h\"\n\nint x_do(int a)\n{\n    assert(a > 0);\n" \
    "    assert(a < 9);\n    return a;\n}\n"
/* Two for each of up to three functions. */
#define ASSERTS                                        \
    "    assert(1);\n    assert(2);\n    assert(3);\n" \
    "    assert(4);\n    assert(5);\n    assert(6);\n"
#define USER "#include \"libcommon/base/x.h\"\nint main(void)\n{\n    return x_do(1);\n}\n"
/* clang-format off */
#define IN_TEST(text) {{"tests/t.c", "static " text MAIN}}
#define IN_TEST_AS(text) {{"tests/t.c", text MAIN}}
/* clang-format on */

static void good_files_pass(void **state)
{
    static const struct sample rows[] = {
        {{{"libcommon/base/x.h", HEADER},
          {"libcommon/base/x.c", SOURCE},
          {"tests/t.c", USER},
          {"gen/use.c", "int (*row)(int) = x_do;\n"}},
         NULL                                                                                 },
        {{{"tests/t.c",
           "/* strcpy(a, b) and a double in a comment */\n"
           "static const char text[] = \"gets(x) /* no comment \\\" \";\n"
           "static int count;\n" MAIN}},
         NULL                                                                                 },
        {{{"tests/t.c",
           "struct row {\n    void (*free)(void *p);\n};\n"
           "static void f(struct row *r)\n{\n    r->free(r);\n}\n" MAIN}},
         NULL                                                                                 },
        {{{"tests/t.c", "typedef unsigned number;\nenum e { A, B };\nstruct s;\n" MAIN}}, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        runs_as_it_says(i, &rows[i]);
    }
}

static void each_word_rule(void **state)
{
    static const struct sample rows[] = {
        {IN_TEST("void f(char *a)\n{\n    strcpy(a, \"x\");\n}\n"),                          "tests/t.c:3: banned: strcpy"},
        {IN_TEST("void f(char *a)\n{\n    (void) sprintf(a, \"x\");\n}\n"),
         "t.c:3: banned: sprintf"                                                                                         },
        {IN_TEST("void f(void)\n{\n    system(\"x\");\n}\n"),                                "t.c:3: banned: system"      },
        {IN_TEST("int f(void)\n{\n    return atoi(\"1\");\n}\n"),                            "t.c:3: banned: atoi"        },
        {IN_TEST("int f(void)\n{\n    return rand();\n}\n"),                                 "t.c:3: banned: rand"        },
        {{{"tests/t.c", "#define CUT(a) strtok((a), \",\")\n" MAIN}},                        "t.c:1: banned: strtok"      },
        {IN_TEST("double rate;\n"),                                                          "t.c:1: float: double"       },
        {IN_TEST("int f(int a)\n{\n    return (float)a > 1;\n}\n"),                          "t.c:3: float: float"        },
        {{{"tests/t.c",
           "/* TO"
           "DO: more */\n" MAIN}},
         "t.c:1: unfinished: TO"
         "DO"                                                                                                             },
        {{{"tests/t.c",
           "// FIX"
           "ME\n" MAIN}},
         "t.c:1: unfinished: FIX"
         "ME"                                                                                                             },
        {{{"services/a/t.c", "static void f(void)\n{\n" ASSERTS "    sleep(1);\n}\n" MAIN}},
         "services/a/t.c:9: banned: sleep"                                                                                },
        {{{"services/a/t.c",
           "static void *f(void)\n{\n" ASSERTS "    return malloc(1);\n}\n" MAIN}},
         "services/a/t.c:9: alloc: malloc"                                                                                },
        {{{"services/a/t.c",
           "static void *f_open(void)\n{\n" ASSERTS "    return malloc(1);\n}\n"
           "static void f_drop(void *p)\n{\n    free(p);\n}\n" MAIN}},
         "services/a/t.c:13: alloc: free"                                                                                 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        runs_as_it_says(i, &rows[i]);
    }
}

static void each_file_rule(void **state)
{
    static const struct sample rows[] = {
        {{{"tests/t.c", "int count;\n" MAIN}},                                                  "t.c:1: global: count can be"    },
        {{{"tests/t.c", "const char *text = \"\";\n" MAIN}},                                    "t.c:1: global: text can be"     },
        {{{"tests/t.c", "struct a rows[2] = {{1}};\n" MAIN}},                                   "t.c:1: global: rows can be"     },
        {{{"tests/t.c", "void (*hook)(int);\n" MAIN}},                                          "t.c:1: global: hook can be"     },
        {{{"tests/t.c", "#include \"tests/t.h\"\n" MAIN},
          {"tests/t.h", "/* First. */\n/* What it is. */\n"}},
         "t.h:1: header: starts with"                                                                                            },
        {{{"tests/t.c", "#include \"tests/t.h\"\n" MAIN},
          {"tests/t.h", "#pragma once\n\nstruct a;\n"}},
         "t.h:2: header: says what it is"                                                                                        },
        {{{"libcommon/base/t.c", "#include \"libcommon/io/loop.h\"\n"}},
         "libcommon/base/t.c:1: layer: libcommon/io/loop.h"                                                                      },
        {{{"services/a/t.c", "#include \"services/b/b.h\"\n"}},                                 "t.c:1: layer: services/b/b.h"   },
        {{{"services/a/t.c", "#include \"gateway/auth.h\"\n"}},                                 "t.c:1: layer: gateway/auth.h"   },
        {{{"gateway/t.c", "#include <uv.h>\n"}},                                                "t.c:1: library: <uv.h> belongs" },
        {{{"libcommon/codec/t.c", "#include <llhttp.h>\n"}},                                    "t.c:1: library: <llhttp.h>"     },
        {{{"libcommon/base/t.c", "#include <protobuf-c/protobuf-c.h>\n"}},
         "t.c:1: library: <protobuf-c/protobuf-c.h> belongs to libcommon/codec/"                                                 },
        {{{"services/a/t.c", "#include <openssl/evp.h>\n"}},                                    "t.c:1: library: <openssl/evp.h>"},
        {{{"services/a/t.c", "static int f(void)\n{\n    return 1;\n}\n"}},
         "density: 0 assertions per 100 functions of production"                                                                 },
        {{{"tests/unbuilt.c", MAIN}},                                                           "unbuilt.c:1: dead: no program"  },
        {{{"tests/t.h", "#pragma once\n/* Alone. */\n"}},                                       "t.h:1: dead: no file includes"  },
        {{{"libcommon/base/x.h", HEADER}, {"libcommon/base/x.c", SOURCE}, {"tests/t.c", USER}},
         "libcommon/base/x.h:3: unused: x_do is called by nothing but tests"                                                     },
        {{{"tests/t.c", "void alone(void)\n{\n}\n" MAIN}},                                      "t.c:1: unused: alone is called" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        runs_as_it_says(i, &rows[i]);
    }
}

/* Texts that are too long to be written down here. */
static void each_size_rule(void **state)
{
    static char text[TEXT_BYTES];
    struct sample sample = {{{"tests/t.c", text}}, "tests/t.c:1: lines: 501 lines, at most 500"};
    size_t len = 0;

    (void)state;
    for (int i = 0; i < 501; i++) {
        text[len++] = '\n';
    }
    text[len] = '\0';
    runs_as_it_says(0, &sample);
    text[500] = '\0';
    sample.complaint = NULL;
    runs_as_it_says(1, &sample);
    (void)snprintf(text, sizeof text, "/* %97d */\n", 0);
    sample.complaint = "tests/t.c:1: columns: 103 columns, at most 100";
    runs_as_it_says(2, &sample);
    (void)snprintf(text, sizeof text, "static const int rows[] = {\n%120d\n};\n", 0);
    sample.complaint = NULL;
    runs_as_it_says(3, &sample);
    len = (size_t)snprintf(text, sizeof text, "static int f(void)\n{\n");
    for (int i = 0; i < 68; i++) {
        text[len++] = '\n';
    }
    (void)snprintf(text + len, sizeof text - len, "}\n");
    sample.complaint = "tests/t.c:1: function: f has 71 lines, at most 70";
    runs_as_it_says(4, &sample);
}

static void exceptions_have_a_reason(void **state)
{
    static const struct sample rows[] = {
        {IN_TEST_AS("/* tidy: allow float: the API gives one */\nstatic double rate;\n"),         NULL},
        {IN_TEST("double rate; /* tidy: allow float: the API gives one */\n"),                    NULL},
        {IN_TEST_AS("/* tidy: allow float here: the API gives them */\n\nstatic double a, b;\n"),
         NULL                                                                                         },
        {IN_TEST_AS("/* tidy: allow float: not on the next line */\n\nstatic double rate;\n"),
         "t.c:3: float: double"                                                                       },
        {IN_TEST_AS("/* tidy: allow alloc: the wrong rule */\nstatic double rate;\n"),
         "t.c:2: float: double"                                                                       },
        {{{"libcommon/base/x.h",
           "#pragma once\n/* What it is. */\n/* tidy: allow unused: tests look inside */\n"
           "int x_do(int a);\n"},
          {"libcommon/base/x.c", SOURCE},
          {"tests/t.c", USER}},
         NULL                                                                                         },
        {IN_TEST("int a; /* tidy: allow float: there is none any more */\n"),
         "tests/t.c:1: allowance: float is not broken here"                                           },
    };
    static const struct file unreasoned[] = {
        {"tests/t.c", "static double a; /* tidy: allow float: */\n" MAIN},
        {"tests/t.c", "static double a; /* tidy: allow float */\n" MAIN },
    };
    const char *text = NULL;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        runs_as_it_says(i, &rows[i]);
    }
    for (size_t i = 5; i < ARRAY_LEN(rows); i++) {
        runs_as_it_says(i, &rows[i]);
    }
    /* The exception that does not fit is told besides the complaint. */
    for (size_t i = 3; i < 5; i++) {
        assert_int_equal(run(rows[i].files, &text), 1);
        tool_holds(text, rows[i].complaint);
        tool_holds(text, "  2 complaints");
    }
    for (size_t i = 0; i < ARRAY_LEN(unreasoned); i++) {
        const struct file files[FILES_MAX] = {unreasoned[i]};
        assert_int_equal(run(files, &text), 1);
        tool_holds(text, "tests/t.c:1: an allowance");
    }
}

static void figures_are_counted(void **state)
{
    static const struct file files[FILES_MAX] = {
        {"libcommon/base/x.h", HEADER                                                                                                     },
        {"libcommon/base/x.c", SOURCE                                                                                                     },
        {"services/a/t.c",
         "static int count;\n#include \"libcommon/base/x.h\"\nint main(void)\n{\n    assert(1);\n    assert(2);\n    return x_do(1);\n}\n"},
        {"tests/t.c",          "static int other;\n\n" MAIN                                                                               },
    };
    const char *text = NULL;

    (void)state;
    assert_int_equal(run(files, &text), 0);
    tool_holds(text,
               "  libcommon/base               "
               "2      11         1       6       2     2.00        0        0");
    tool_holds(text,
               "  services/a                   "
               "1       8         1       6       2     2.00        0        1");
    tool_holds(text,
               "  production                   "
               "3      19         2       6       4     2.00        0        1");
}

static void refuses_bad_calls(void **state)
{
    struct tool_args few = {0};
    const char *text = NULL;

    (void)state;
    tool_add(&few, ".");
    assert_int_equal(tool_host("tidy", &few, &text), 1);
    tool_holds(text, "usage: tidy ROOT LIST");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files_pass),
        cmocka_unit_test(each_word_rule),
        cmocka_unit_test(each_file_rule),
        cmocka_unit_test(each_size_rule),
        cmocka_unit_test(exceptions_have_a_reason),
        cmocka_unit_test(figures_are_counted),
        cmocka_unit_test(refuses_bad_calls),
    };

    return cmocka_run_group_tests(tests, setup, tool_teardown);
}
