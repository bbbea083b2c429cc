/*
 * wordgen: the most common passwords of a frequency list become a sorted table.
 *
 *   wordgen passwords LIST COUNT OUT   build/gen/passwords.gen.c
 *
 * LIST is the file that Debian's python3-zxcvbn installs. It is read as data: the words stand
 * between quotes behind `"passwords":`, the most common first, with commas between them.
 */

#include "libcommon/tools/host.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define WORD_BYTES_MAX 64 /* longer than any password of the list */

struct words {
    char **items;
    size_t count;
};

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The word at *at, in lower case and without its escapes; *at moves behind it. */
static char *word_read(const char **at)
{
    char word[WORD_BYTES_MAX];
    size_t len = 0;
    const char *c = *at;

    assert(at != NULL);
    assert(*at != NULL);
    for (; *c != ',' && *c != '"'; c++) {
        c += *c == '\\' ? 1 : 0;
        if (*c == '\0' || len == sizeof word) {
            host_die("the list ends inside of a word, or a word is longer than %d bytes",
                     WORD_BYTES_MAX);
        }
        word[len++] = (char)tolower((unsigned char)*c);
    }
    *at = c;
    return host_copy(word, len);
}

static struct words words_read(const char *path, const char *name, size_t count)
{
    struct host_bytes file = host_read(path);
    const char *at = strstr(file.data, host_format("\"%s\": \"", name));
    struct words words = {host_alloc(count, sizeof(char *)), 0};

    if (at == NULL) {
        host_die("%s: there is no list \"%s\"", path, name);
    }
    at += strlen(name) + strlen("\"\": \"");
    while (words.count < count) {
        words.items[words.count++] = word_read(&at);
        if (*at != ',') {
            break;
        }
        at++;
    }
    if (words.count < count) {
        host_die(
            "%s: list \"%s\" has %zu words, and %zu are wanted", path, name, words.count, count);
    }
    return words;
}

/* Lower case makes some words the same. */
static void words_sort(struct words *words)
{
    size_t kept = 0;

    assert(words->count > 0);
    qsort(words->items, words->count, sizeof *words->items, compare);
    for (size_t i = 0; i < words->count; i++) {
        if (kept == 0 || strcmp(words->items[kept - 1], words->items[i]) != 0) {
            words->items[kept++] = words->items[i];
        }
    }
    words->count = kept;
}

static void put_table(FILE *file, const struct words *words)
{
    size_t offset = 0;

    assert(file != NULL);
    assert(words->count > 0);
    (void)fputs("#include \"services/identity/common_passwords.h\"\n\n", file);
    (void)fprintf(file, "const uint32_t common_password_count = %zu;\n", words->count);
    (void)fputs("const char common_password_text[] =\n", file);
    for (size_t i = 0; i < words->count; i++) {
        (void)fputs("    ", file);
        host_put_literal(file, words->items[i]);
        (void)fputs("\n", file);
    }
    (void)fputs("    ;\nconst uint32_t common_password_at[] = {\n", file);
    for (size_t i = 0; i < words->count; i++) {
        (void)fprintf(file, "    %zu,\n", offset);
        offset += strlen(words->items[i]);
    }
    (void)fprintf(file, "    %zu\n};\n", offset);
}

int main(int argc, char **argv)
{
    struct host_out out;
    struct words words;
    char *end = NULL;

    host_name_set("wordgen");
    if (argc != 5) {
        host_die("usage: wordgen NAME LIST COUNT OUT");
    }
    size_t count = strtoul(argv[3], &end, 10);
    if (count == 0 || *end != '\0') {
        host_die("%s is no number of words", argv[3]);
    }
    words = words_read(argv[2], argv[1], count);
    words_sort(&words);
    host_out_open(&out);
    put_table(out.file, &words);
    host_out_commit(&out, argv[4]);
    return 0;
}
