#include "tests/support/toy.h"

#include "libcommon/service/req.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

/* --- steps --------------------------------------------------------------------------------- */

static bool is_named(struct req *r, const char *name)
{
    const Toy__AddRequest *in = req_in(r);

    return strcmp(in->name, name) == 0;
}

static enum step add_insert(struct req *r)
{
    if (is_named(r, TOY_REFUSED)) {
        return req_refuse(r, AVANTA__REASON__NO_UPDATE_FIELDS);
    }
    if (is_named(r, TOY_AUDITED)) {
        req_audit_severity(r, "high");
        req_audit_failure(r, req_user_id(r), "add", "row", "none");
        return req_refuse(r, AVANTA__REASON__WEAK_PASSWORD);
    }
    return req_query(r, TOY_INSERT);
}

static enum step add_reply(struct req *r)
{
    Toy__RowAdded event = TOY__ROW_ADDED__INIT;
    Toy__Row *out = req_out(r);

    if (!req_row(r, 0, &out->base)) {
        return STEP_FAIL;
    }
    if (is_named(r, TOY_REFUSED_LATE)) {
        req_audit_failure(r, req_user_id(r), "add", "row", NULL);
        return req_refuse(r, AVANTA__REASON__ACCOUNT_NOT_FOUND);
    }
    event.id = out->id;
    event.name = out->name;
    req_emit(r, &event.base, "row-1");
    if (is_named(r, TOY_BROADCAST)) {
        req_publish(r, "ctl.toy", STR("added"));
    }
    return STEP_DONE;
}

static enum step join_insert(struct req *r)
{
    return req_query(r, TOY_INSERT_SET);
}

static enum step join_reply(struct req *r)
{
    if (req_rows(r) == 0) {
        req_changed_nothing(r);
        return req_refuse(r, AVANTA__REASON__ACCOUNT_NOT_FOUND);
    }
    return add_reply(r);
}

static enum step move_find(struct req *r)
{
    return req_query(r, TOY_FIND);
}

static enum step move_update(struct req *r)
{
    ProtobufCMessage *moved = NULL;

    if (req_rows(r) == 0) {
        return req_fail(r, ERR_NOT_FOUND, "There is no row of this name");
    }
    moved = req_row_new(r, 0);
    return moved == NULL ? STEP_FAIL : req_query_from(r, TOY_UPDATE, moved);
}

static enum step list_select(struct req *r)
{
    return req_query(r, TOY_SELECT);
}

static enum step list_reply(struct req *r)
{
    return req_reply_rows(r, "rows");
}

struct hash_state {
    uint32_t rounds;
};

static void hash_work(void *arg)
{
    struct hash_state *state = arg;

    (void)usleep(2000);
    state->rounds++;
}

static enum step hash_start(struct req *r)
{
    struct hash_state *state = req_state(r, sizeof *state);

    assert(state->rounds == 0);
    return req_work(r, hash_work, state);
}

static enum step hash_insert(struct req *r)
{
    const struct hash_state *state = req_state(r, sizeof *state);

    assert(state->rounds == 1);
    return req_query(r, TOY_INSERT);
}

static enum step sign_reserve(struct req *r)
{
    return req_work_reserve(r) ? req_query(r, TOY_FIND) : STEP_FAIL;
}

static enum step nap_sleep(struct req *r)
{
    return req_query(r, TOY_SLEEP);
}

/* Most operations leave no record, so that what is seen of them is their statements. */
static enum step quiet_done(struct req *r)
{
    req_recorded(r);
    return STEP_DONE;
}

static enum step quiet_row(struct req *r)
{
    req_recorded(r);
    return req_reply_row(r);
}

static enum step plain_done(struct req *r)
{
    (void)r;
    return STEP_DONE;
}

static enum step seen_insert(struct req *r)
{
    return req_query(r, TOY_SEEN);
}

/* --- tables -------------------------------------------------------------------------------- */

static const struct op op_add = {
    TX_ADD, {add_insert, add_reply}
};
static const struct op op_move = {
    TX_WRITE, {move_find, move_update, quiet_row}
};
static const struct op op_list = {
    TX_READ, {list_select, list_reply}
};
static const struct op op_secret = {
    TX_READ, {list_select, list_reply}
};
static const struct op op_hash = {
    TX_WRITE, {move_find, hash_start, hash_insert, quiet_row}
};
static const struct op op_sign = {
    TX_WRITE, {sign_reserve, hash_start, req_transaction, hash_insert, quiet_row}
};
static const struct op op_nap = {TX_NONE, {nap_sleep}};
static const struct op op_ping = {TX_ADD, {quiet_done}};
static const struct op op_join = {
    TX_ADD, {join_insert, join_reply}
};
static const struct op op_touch = {
    TX_WRITE, {move_find, quiet_done}
};
static const struct op op_mark = {
    TX_WRITE, {move_find, plain_done}
};
static const struct op op_bulk = {
    TX_WRITE_HEAVY, {move_find, quiet_done}
};
static const struct op op_export = {
    TX_READ_HEAVY, {list_select, list_reply}
};
static const struct op op_seen = {TX_ADD, {seen_insert}};

static const struct field_rule add_fields[] = {
    {.name = "name", .flags = RULE_REQUIRED, .len_min = 1,   .len_max = 40},
    {.name = "amount",              .flags = RULE_HAS_MIN,                     .min = 0},
};
static const struct field_rule row_fields[] = {
    {.name = "id"}, {.name = "name"}, {.name = "amount"}};
static const struct field_rule list_fields[] = {
    {.name = "prefix", .len_max = 40}
};
static const struct message_rules rules_add = {&toy__add_request__descriptor, add_fields, false};
static const struct message_rules rules_row = {&toy__row__descriptor, row_fields, false};
static const struct field_rule list_reply_fields[] = {
    {.name = "rows", .message = &rules_row}
};
static const struct message_rules rules_list = {&toy__list_request__descriptor, list_fields, false};
static const struct message_rules rules_list_reply = {
    &toy__list_reply__descriptor, list_reply_fields, false};
static const struct message_rules rules_empty = {&toy__empty__descriptor, NULL, false};
static const struct field_rule added_fields[] = {{.name = "id"}, {.name = "name"}};
static const struct message_rules rules_added = {&toy__row_added__descriptor, added_fields, false};
static const struct message_rules rules_event = {&avanta__event_record__descriptor, NULL, false};

#define METHOD(title, input, output, who, changes)                                                 \
    {                                                                                              \
        .service = "toy", .name = (title), .full_name = "toy." title, .subject = "rpc.toy." title, \
        .in = (input), .out = (output), .body_field = -1, .permission = (who),                     \
        .deadline_ms = 5000, .status = 200, .writes = (changes)                                    \
    }

static const struct api_method methods[TOY_OP_COUNT] = {
    [TOY_ADD] = METHOD("Add", &rules_add, &rules_row, API_BOOKS_WRITE, true),
    [TOY_MOVE] = METHOD("Move", &rules_add, &rules_row, API_BOOKS_WRITE, true),
    [TOY_LIST] = METHOD("List", &rules_list, &rules_list_reply, API_PUBLIC, false),
    [TOY_SECRET] = METHOD("Secret", &rules_list, &rules_list_reply, API_USERS_ADMIN, false),
    [TOY_HASH] = METHOD("Hash", &rules_add, &rules_row, API_BOOKS_WRITE, true),
    [TOY_NAP] = METHOD("Nap", &rules_add, &rules_empty, API_PUBLIC, false),
    [TOY_PING] = METHOD("Ping", &rules_add, &rules_empty, API_BOOKS_WRITE, true),
    [TOY_JOIN] = METHOD("Join", &rules_add, &rules_row, API_BOOKS_WRITE, true),
    [TOY_TOUCH] = METHOD("Touch", &rules_add, &rules_empty, API_BOOKS_WRITE, true),
    [TOY_BULK] = METHOD("Bulk", &rules_add, &rules_empty, API_BOOKS_WRITE, true),
    [TOY_EXPORT] = METHOD("Export", &rules_list, &rules_list_reply, API_BOOKS_WRITE, false),
    [TOY_MARK] = METHOD("MarkRead", &rules_add, &rules_empty, API_BOOKS_WRITE, true),
    [TOY_SIGN] = METHOD("Sign", &rules_add, &rules_row, API_BOOKS_WRITE, true),
};

const struct op_row toy_ops[TOY_OP_COUNT] = {
    [TOY_ADD] = {&methods[TOY_ADD],    &op_add   },
    [TOY_MOVE] = {&methods[TOY_MOVE],   &op_move  },
    [TOY_LIST] = {&methods[TOY_LIST],   &op_list  },
    [TOY_SECRET] = {&methods[TOY_SECRET], &op_secret},
    [TOY_HASH] = {&methods[TOY_HASH],   &op_hash  },
    [TOY_NAP] = {&methods[TOY_NAP],    &op_nap   },
    [TOY_PING] = {&methods[TOY_PING],   &op_ping  },
    [TOY_JOIN] = {&methods[TOY_JOIN],   &op_join  },
    [TOY_TOUCH] = {&methods[TOY_TOUCH],  &op_touch },
    [TOY_BULK] = {&methods[TOY_BULK],   &op_bulk  },
    [TOY_EXPORT] = {&methods[TOY_EXPORT], &op_export},
    [TOY_MARK] = {&methods[TOY_MARK],   &op_mark  },
    [TOY_SIGN] = {&methods[TOY_SIGN],   &op_sign  },
};

static const char *const insert_parameters[] = {"user_id", "name", "amount"};
static const char *const select_parameters[] = {"prefix"};
static const char *const find_parameters[] = {"user_id", "name", "amount"};
static const char *const update_parameters[] = {"id", "amount"};
static const char *const seen_parameters[] = {"ctx_request_id", "subject"};
static const char *const sleep_parameters[] = {"amount"};

static const struct pg_query queries[TOY_QUERY_COUNT] = {
    [TOY_INSERT] = {"insert",
                    "INSERT INTO toy (user_id, name, amount) VALUES ($1, $2, coalesce($3, 1))"
                    " RETURNING id, name, amount",                                               insert_parameters,
                    3, &toy__add_request__descriptor,
                    &toy__row__descriptor,
                    false                         },
    [TOY_SELECT] = {"select",
                    "SELECT id, name, amount FROM toy WHERE starts_with(name, coalesce($1, ''))"
                    " ORDER BY id",                                                              select_parameters,
                    1, &toy__list_request__descriptor,
                    &toy__row__descriptor,
                    false                         },
    [TOY_FIND] = {"find",
                    "SELECT id, amount + $3 AS amount FROM toy WHERE user_id = $1 AND name = $2"
                  " FOR UPDATE",                                                                 find_parameters,
                    3, &toy__add_request__descriptor,
                    &toy__moved__descriptor,
                    false                         },
    [TOY_UPDATE] = {"update",
                    "UPDATE toy SET amount = $2 WHERE id = $1 RETURNING id, name, amount",       update_parameters,
                    2, &toy__moved__descriptor,
                    &toy__row__descriptor,
                    false                         },
    [TOY_SEEN] = {"seen",
                    "INSERT INTO toy_seen (id, subject) VALUES ($1, $2) ON CONFLICT DO NOTHING", seen_parameters,
                    2, &avanta__event_record__descriptor,
                    NULL,                    false},
    [TOY_SLEEP] = {"sleep",
                    "SELECT 1 FROM pg_sleep($1::bigint / 1000.0)",                               sleep_parameters,
                    1, &toy__add_request__descriptor,
                    NULL,                    false},
    [TOY_INSERT_SET] =
        {"insert_set",
                    "WITH asked AS MATERIALIZED (SELECT * FROM unnest((SELECT $1::text[]), (SELECT $2::text[]),"
         " (SELECT $3::bigint[])) WITH ORDINALITY AS u (user_id, name, amount, place)), added AS ("
         " INSERT INTO toy (user_id, name, amount) SELECT user_id, name, coalesce(amount, 1) FROM asked"
         " WHERE name <> '" TOY_UNKNOWN "' RETURNING *) SELECT place, t.id, t.name, t.amount"
         " FROM asked JOIN added t USING (user_id, name) ORDER BY place",                        insert_parameters,
                    3, &toy__add_request__descriptor,
                    &toy__row__descriptor,
                    true                          },
};

static const struct pg_migration migrations[] = {
    {1,
     "toy", "CREATE TABLE toy (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
     " user_id text NOT NULL, name text NOT NULL,"
     " amount bigint NOT NULL CONSTRAINT toy_amount_positive CHECK (amount > 0),"
     " CONSTRAINT toy_name_once UNIQUE (user_id, name));"
     "CREATE TABLE toy_seen (id text PRIMARY KEY, subject text NOT NULL"
     " CONSTRAINT toy_seen_allowed CHECK (subject <> 'evt.toy.row.bad'))"},
};

static const struct constraint_row constraints[] = {
    {"toy_name_once", AVANTA__REASON__DUPLICATE_ERROR, "name"},
};

static const struct api_event events[] = {
    {&toy__row_added__descriptor, &rules_added, "evt.toy.row.added", "row", "create", NULL, false},
};

static const struct consumer_row consumers[] = {
    {"EVENTS", "toy-seen", "evt.toy.>", &rules_event, NULL, &op_seen},
};

const struct service toy_service = {
    .name = "toy",
    .version = "1.2.3",
    .description = "A service for tests",
    .ops = toy_ops,
    .op_count = TOY_OP_COUNT,
    .queries = queries,
    .query_count = TOY_QUERY_COUNT,
    .migrations = migrations,
    .migration_count = ARRAY_LEN(migrations),
    .consumers = consumers,
    .consumer_count = ARRAY_LEN(consumers),
    .constraints = constraints,
    .constraint_count = ARRAY_LEN(constraints),
    .events = events,
    .event_count = ARRAY_LEN(events),
};
