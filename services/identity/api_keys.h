#pragma once
/* API keys, whoever asks for them: their user, or an administrator. Steps of a request. */

#include "services/identity/identity.h"

#include "libcommon/service/req.h"

/* What a key is to be; of the request, and checked by its rules. */
struct key_wishes {
    const char *owner_id;
    const char *role; /* of the owner: a key may do what its scopes say and this allows */
    char *name;
    size_t scope_count;
    char **scopes;
    size_t network_count;
    char **networks;
    uint32_t days; /* 0: as many as are usual */
    bool signing;
};

enum step api_keys_select(struct req *r, const char *owner_id);
/* The last step after it, into a ListApiKeysReply. */
enum step api_keys_reply(struct req *r);
enum step api_key_insert(struct req *r, const struct key_wishes *in);
/* The last step after it: the event, and the key's only showing. */
enum step api_key_inserted(struct req *r);
enum step api_key_revoke(struct req *r, const char *owner_id, const char *id);
/* The last step after it. */
enum step api_key_revoked(struct req *r);
