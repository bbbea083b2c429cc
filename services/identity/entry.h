#pragma once
/* What registering and every way of logging in share: the request's state and its last steps. */

#include "services/identity/identity.h"
#include "services/identity/lockout.h"
#include "services/identity/mfa.h"

#include "libcommon/base/id.h"
#include "libcommon/service/req.h"

/* What the thread pool works on, and what later steps need of it. */
struct entry {
    struct attempt attempt;
    struct str password;
    struct password_cost cost;
    char hash[PASSWORD_HASH_BYTES];
    const char *stored_hash; /* NULL: nobody of that e-mail */
    bool good;
    char user_id[UUID_TEXT_BYTES];
    int64_t entries_ended; /* of the user, as it was looked at */
    struct session_secrets secrets;
    Avanta__Identity__UserNew user_new;
    Avanta__Identity__SessionUser user;
    Avanta__Identity__SessionNew session;
    ProtobufCBinaryData mfa_sealed; /* empty: no second factor */
    struct mfa_proof mfa;
    const void *more; /* of one way to log in */
};

/* Users of the role service are programs: they have API keys and do not log in. */
bool entry_may_be(const char *role);
struct entry *entry_of(struct req *r);
/* entry->user has shown who he is and entry->good says so: a session and its first token. */
enum step entry_session(struct req *r);
/* The last step: the event, and the reply with token and cookies. Refused when what ends sessions
 * came in between. */
enum step entry_reply(struct req *r);
