#pragma once
/*
 * Who asks, and whether it may: the credential of a request, what identity says of an API key or a
 * grant, and the permission of the operation. Lives in the exchange; loop thread only.
 *
 * A request with the header X-Avanta-Account-Owner is for the books of that user, who must have
 * granted the caller access.
 */

#include "gateway/credential.h"
#include "gateway/key_fetch.h"
#include "gateway/lookup.h"

#include "libcommon/codec/api.h"
#include "libcommon/codec/violations.h"

#define OWNER_HEADER "X-Avanta-Account-Owner"

struct caller {
    /* Set before caller_authorise(). */
    struct worker *worker;
    const struct http_request *http;
    struct str peer; /* address of the client */
    struct violations *violations;
    void (*resume)(void *ctx); /* authorise again: what was waited for is there */
    void *ctx;
    /* What it found. */
    struct credential credential; /* NONE for public operations */
    uint32_t scopes;              /* of an API key */
    enum access_grant grant;
    char owner_id[64]; /* whose books, with a grant; "" for one's own */
    /* Its waiting. */
    struct key_wait key_wait;
    struct lookup_ask ask;
    enum code asked; /* how the last question ended */
};

enum caller_verdict {
    CALLER_MAY,
    CALLER_WAITS, /* resume is called later, not from here */
    CALLER_REFUSED
};

/* REFUSED: err has ERR_UNAUTHENTICATED, ERR_FORBIDDEN, ERR_INVALID or ERR_UNAVAILABLE. */
enum caller_verdict caller_authorise(struct caller *caller,
                                     const struct api_method *method,
                                     struct err *err) MUST_CHECK;

struct Avanta__Principal;
/* Who calls and whose books are meant, for the service; views into the caller. False: the arena is
 * full. */
bool caller_principal(struct caller *caller,
                      struct arena *arena,
                      struct Avanta__Principal *out) MUST_CHECK;
