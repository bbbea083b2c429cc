/* audit-log --verify: needs nothing but the file and the keys. */
#include "services/audit-log/commands.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/config.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

typedef unsigned long long number; /* for printf */

int command_refuse(const char *path, const struct verify_report *report, const struct err *err)
{
    assert(err->code != OK);
    assert(report != NULL);
    (void)fprintf(stderr, "audit-log: %s: ", path);
    if (report->failed_at_record) {
        (void)fprintf(stderr, "record %llu, ", (number)report->failed_leaf_index);
    }
    if (report->failed_line > 0) {
        (void)fprintf(stderr, "line %llu: ", (number)report->failed_line);
    }
    (void)fprintf(stderr, "%s\n", err->text);
    return COMMAND_FAILED;
}

static void records_tell(const struct verify_report *report)
{
    static const char *const kinds[] = {
        [VERIFY_SELECTION] =
            "a selection: these records are in the log; it does not tell of others",
        [VERIFY_RANGE] = "a range: none of the records between was left out",
        [VERIFY_SEAL] = "a seal: records of one month, in their places in the log",
    };

    assert(report->kind < ARRAY_LEN(kinds));
    (void)printf("kind:        %s\n", kinds[report->kind]);
    if (report->kind == VERIFY_SEAL) {
        (void)printf("month:       %s\n", report->month);
    }
    (void)printf("records:     %llu\n", (number)report->records);
    if (report->records > 0) {
        (void)printf(
            "leaves:      %llu to %llu", (number)report->first_index, (number)report->last_index);
        if (report->gaps > 0) {
            (void)printf(", with %llu gaps", (number)report->gaps);
        }
        (void)printf("\n");
    }
}

static void checkpoint_tell(const struct verify_report *report, const char *witness_vkey)
{
    char time[TIMESTAMP_TEXT_BYTES];
    char root[2 * MERKLE_HASH_BYTES + 1];

    assert(report->signatures > 0);
    assert(witness_vkey == NULL || report->witness_time_s > 0);
    hex_encode(report->root.bytes, sizeof report->root.bytes, root);
    (void)printf("checkpoint:  %llu records of %s, signed by the log\n",
                 (number)report->size,
                 report->origin);
    (void)printf("root:        %s\n", root);
    if (witness_vkey != NULL) {
        timestamp_format(report->witness_time_s * 1000, time);
        (void)printf("witness:     %.*s has signed the checkpoint at %s\n",
                     (int)strcspn(witness_vkey, "+"),
                     witness_vkey,
                     time);
    } else {
        (void)printf(
            "witness:     not asked for; the checkpoint has %zu signatures beside the log's\n",
            report->signatures - 1);
    }
}

static void file_tell(const struct verify_report *report)
{
    char digits[2 * SHA256_BYTES + 1];

    assert(report->failed_line == 0);
    hex_encode(report->file_sha256, sizeof report->file_sha256, digits);
    (void)printf("SHA-256:     %s\n", digits);
    if (report->has_previous) {
        hex_encode(report->previous_sha256, sizeof report->previous_sha256, digits);
        (void)printf("seal before: %s (SHA-256 of its file)\n", digits);
    } else if (report->kind == VERIFY_SEAL) {
        (void)printf("seal before: none\n");
    }
}

static bool key_is_valid(const struct command_option *option)
{
    struct note_verifier key;
    struct err err = {.code = OK};

    assert(option->name != NULL);
    if (option->value == NULL || note_verifier_parse(str_from(option->value), &key, &err) == OK) {
        return true;
    }
    (void)fprintf(stderr, "audit-log: %s: %s\n", option->name, err.text);
    return false;
}

int command_verify(int argc, char **argv, const struct command_settings *settings)
{
    struct command_option options[] = {
        {"--log-key",     NULL},
        {"--witness-key", NULL}
    };
    const char *path = NULL;
    struct verify_report report;
    struct err err = {.code = OK};

    assert(settings->dsn == NULL);
    assert(settings->own == NULL);
    if (!command_read(argc, argv, &path, &(struct command_options){options, ARRAY_LEN(options)})) {
        return EXIT_SETTINGS;
    }
    if (options[0].value == NULL) {
        (void)fprintf(stderr, "audit-log: --log-key VKEY is required; --help tells more\n");
        return EXIT_SETTINGS;
    }
    if (!key_is_valid(&options[0]) || !key_is_valid(&options[1])) {
        return EXIT_SETTINGS;
    }
    if (audit_verify_file(path, options[0].value, options[1].value, &report, &err) != OK) {
        return command_refuse(path, &report, &err);
    }
    (void)printf("%s holds.\n", strcmp(path, "-") == 0 ? "It" : path);
    records_tell(&report);
    checkpoint_tell(&report, options[1].value);
    file_tell(&report);
    return fflush(stdout) == 0 ? 0 : COMMAND_FAILED;
}
