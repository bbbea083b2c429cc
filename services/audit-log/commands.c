#include "services/audit-log/commands.h"

#include "audit_log_sql.gen.h"
#include "services/audit-log/audit.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static int command_verifier_key(int argc, char **argv, const struct command_settings *settings);

const struct service_command audit_commands[] = {
    {"--verify",       SERVICE_NEEDS_NOTHING,        command_verify      },
    {"--verifier-key", SERVICE_NEEDS_SETTINGS,       command_verifier_key},
    {"--export",       SERVICE_NEEDS_PG_DSN,         command_export      },
    {"--seal",         SERVICE_NEEDS_PG_MIGRATE_DSN, command_seal        },
    {"--seals",        SERVICE_NEEDS_PG_DSN,         command_seals       },
};
const size_t audit_command_count = ARRAY_LEN(audit_commands);

const char audit_command_help[] =
    "\nOn the audit log:\n"
    "  --verify FILE --log-key VKEY [--witness-key VKEY]\n"
    "                     verify an exported or sealed file, plain or .gz, \"-\" for standard\n"
    "                     input; needs no setting and no server\n"
    "  --verifier-key     show the key that --log-key wants: of AVANTA_AUDIT_SIGNING_KEY and\n"
    "                     AVANTA_AUDIT_ORIGIN\n"
    "  --export FILE [--from LEAF] [--to LEAF]\n"
    "                     write these records, or all, as a file that can be verified; compressed\n"
    "                     when its name ends in .gz; reads AVANTA_PG_DSN\n"
    "  --seal YYYY-MM --dir DIR [--keep-days N] [--log-key VKEY]\n"
    "                     move the records of a month that is over since N (365) days into a\n"
    "                     sealed file, verify it and drop their partition; reads\n"
    "                     AVANTA_PG_MIGRATE_DSN\n"
    "  --seals DIR [--log-key VKEY]\n"
    "                     verify all sealed files and their chain; reads AVANTA_PG_DSN\n"
    "VKEY is a verifier key, NAME+ID+BASE64; --seal and --seals know that of the log where\n"
    "AVANTA_AUDIT_SIGNING_KEY is set.\n";

/* --- the command line ------------------------------------------------------------------------- */

static bool usage(const char *what, const char *argument)
{
    assert(what != NULL);
    (void)fprintf(stderr, "audit-log: %s %s; --help tells more\n", what, argument);
    return false;
}

static struct command_option *option_find(const struct command_options *options, const char *name)
{
    assert(name != NULL);
    for (size_t i = 0; i < options->count; i++) {
        if (strcmp(options->all[i].name, name) == 0) {
            return &options->all[i];
        }
    }
    return NULL;
}

/* Takes what stands at argv[*at], and its value. */
static bool argument_take(
    int argc, char **argv, int *at, const char **operand, const struct command_options *options)
{
    const char *argument = argv[*at];
    struct command_option *option = option_find(options, argument);

    assert(*at < argc);
    if (option != NULL) {
        if (option->value != NULL || *at + 1 == argc) {
            return usage("one value is wanted behind", argument);
        }
        option->value = argv[++*at];
        return true;
    }
    if (strncmp(argument, "--", 2) == 0) {
        return usage("unknown option", argument);
    }
    if (operand == NULL || *operand != NULL) {
        return usage("too much:", argument);
    }
    *operand = argument;
    return true;
}

bool command_read(int argc,
                  char **argv,
                  const char **out_operand,
                  const struct command_options *options)
{
    assert(argc >= 0);
    assert(options != NULL);
    if (out_operand != NULL) {
        *out_operand = NULL;
    }
    for (int i = 0; i < argc; i++) {
        if (!argument_take(argc, argv, &i, out_operand, options)) {
            return false;
        }
    }
    return out_operand == NULL || *out_operand != NULL ||
           usage("something is missing:", "what to work on");
}

bool command_number(const struct command_option *option,
                    uint64_t fallback,
                    uint64_t max,
                    uint64_t *out)
{
    assert(fallback <= max);
    assert(out != NULL);
    *out = fallback;
    if (option->value == NULL) {
        return true;
    }
    return (str_to_uint64(str_from(option->value), out) && *out <= max) ||
           usage("a number is wanted behind", option->name);
}

int command_fail(const struct err *err)
{
    assert(err->code != OK);
    (void)fprintf(stderr, "audit-log: %s\n", err->text);
    return COMMAND_FAILED;
}

/* --- what commands share ---------------------------------------------------------------------- */

enum code
audit_signer_make(const struct audit_config *config, struct note_signer *out, struct err *err)
{
    uint8_t seed[ED25519_KEY_BYTES];
    size_t len = 0;
    enum code code = OK;

    assert(config != NULL);
    assert(out != NULL);
    if (!hex_decode(str_from(config->signing_key), seed, sizeof seed, &len) || len != sizeof seed) {
        return err_set_field(err,
                             ERR_INVALID,
                             "AVANTA_AUDIT_SIGNING_KEY",
                             "AVANTA_AUDIT_SIGNING_KEY must be 64 hex digits");
    }
    code = note_signer_make(str_from(config->origin), NOTE_ED25519, seed, out, err);
    explicit_bzero(seed, sizeof seed);
    return code;
}

static enum code
vkey_make(const struct audit_config *config, char out[NOTE_KEY_TEXT_BYTES_MAX], struct err *err)
{
    struct buf text = buf_over(out, NOTE_KEY_TEXT_BYTES_MAX);
    struct note_signer signer;
    enum code code = audit_signer_make(config, &signer, err);

    assert(out != NULL);
    if (code != OK) {
        return code;
    }
    note_verifier_write(&signer.verifier, &text);
    note_signer_wipe(&signer);
    return buf_terminate(&text) ? OK : err_set(err, ERR_INVALID, "the log's name is too long");
}

enum code command_log_key(const char *given,
                          const struct command_settings *settings,
                          char out[NOTE_KEY_TEXT_BYTES_MAX],
                          struct err *err)
{
    const struct audit_config *config = settings->own;

    assert(config != NULL);
    assert(out != NULL);
    if (given != NULL) {
        return str_copy(str_from(given), out, NOTE_KEY_TEXT_BYTES_MAX)
                   ? OK
                   : err_set(err, ERR_INVALID, "--log-key is no verifier key");
    }
    if (config->signing_key[0] == '\0') {
        return err_set(err,
                       ERR_INVALID,
                       "--log-key VKEY is required where AVANTA_AUDIT_SIGNING_KEY is not set");
    }
    return vkey_make(config, out, err);
}

enum code
command_connect(const struct command_settings *settings, struct pg_blocking **out, struct err *err)
{
    static const struct pg_query_table table = {audit_log_queries, AUDIT_LOG_QUERY_COUNT};

    assert(settings->dsn != NULL);
    assert(out != NULL);
    return pg_blocking_open(settings->dsn, "audit-log-command", &table, out, err);
}

/* What a witness, or anybody else, verifies checkpoints with. */
static int command_verifier_key(int argc, char **argv, const struct command_settings *settings)
{
    static const struct command_options none = {NULL, 0};
    char key[NOTE_KEY_TEXT_BYTES_MAX];
    struct err err = {.code = OK};

    assert(settings->own != NULL);
    if (!command_read(argc, argv, NULL, &none)) {
        return EXIT_SETTINGS;
    }
    if (vkey_make(settings->own, key, &err) != OK) {
        (void)command_fail(&err);
        return config_exit_status(&err);
    }
    return puts(key) >= 0 ? 0 : COMMAND_FAILED;
}
