#pragma once
/* Every maximum that protects memory or time, with its unit last. Not configuration: constants
 * whose relations are asserted here. */

/* --- HTTP edge --- */
#define HTTP_CONNECTIONS_MAX           16384 /* per loop thread */
#define HTTP_HEADER_BYTES_MAX          16384 /* request line and all header fields */
#define HTTP_HEADERS_MAX               64
#define HTTP_PROXIES_MAX               32 /* networks of proxies that are believed */
#define HTTP_FORWARDED_MAX             32 /* elements of X-Forwarded-For looked at */
#define HTTP_TARGET_BYTES_MAX          8192
#define HTTP_BODY_BYTES_MAX            (768 * 1024)
#define HTTP_PIPELINE_MAX              16 /* parsed and not yet answered on one connection */
#define HTTP_WRITE_HIGH_BYTES          (256 * 1024)
#define HTTP_READ_CHUNK_BYTES          16384
#define HTTP_HEADER_MS_MAX             10000 /* first byte to end of header */
#define HTTP_BODY_MS_MAX               30000
#define HTTP_BODY_RATE_BYTES_MIN       256 /* per second, after a grace of 5 s */
#define HTTP_IDLE_MS_MAX               60000
#define HTTP_WRITE_MS_MAX              30000
#define HTTP_REQUESTS_PER_CONNECTION   100000
#define HTTP_CHUNK_EXTENSION_BYTES_MAX 256

/* --- messages --- */
#define JSON_DEPTH_MAX        32
#define JSON_STRING_BYTES_MAX (768 * 1024)
#define JSON_NUMBER_BYTES_MAX 64
#define JSON_KEY_BYTES_MAX    256
#define VIOLATIONS_MAX        100
#define QUERY_PARAMETERS_MAX  64

/* --- bus --- */
#define BUS_PAYLOAD_BYTES_MAX  (1024UL * 1024) /* nats-server's default max_payload */
#define BUS_PART_BYTES_MAX     (512 * 1024)
#define BUS_PARTS_MAX          32
#define BUS_RING_MESSAGES      8192
#define BUS_IN_FLIGHT_MAX      16384
#define BUS_CALL_MS_MAX        30000
#define STREAM_ACK_PENDING_MAX 4096

/* --- identity and gateway --- */
#define SESSIONS_ENDED_MAX 10000 /* named to a gateway that asks */
#define SIGNING_KEYS_MAX   8     /* published at a time */

/* --- requests in a service --- */
#define REQUESTS_MAX            8192
#define REQUEST_DEADLINE_MS_MAX 30000
#define REQUEST_ARENA_BYTES_MAX (16 * 1024 * 1024)
#define ARENA_CHUNK_BYTES       16384
#define TURN_REQUESTS_MAX       256 /* requests moved forward in one loop turn */
#define OWNER_SOLO_MAX          4   /* as many changes of one user as wait and go one by one */
#define OWNER_TURN_MAX          32  /* changes of one user that go together when more wait */
#define OWNER_WAITING_MAX       256 /* changes of one user that wait for their turn */
#define OWNER_HEAVY_MAX         8   /* heavy ones among them */
#define HEAVY_WAITING_MAX       64  /* heavy requests that wait, of all users */

/* --- database --- */
#define PG_CONNECTIONS_MAX  64
#define PG_STATEMENT_MS_MAX 10000
#define PG_CONNECT_MS_MAX   5000
#define PG_BATCH_MAX        128 /* write operations in one group commit */
#define PG_WAITERS_MAX      8192
#define PG_PARAMETERS_MAX   64

#define DRAIN_MS_MAX 10000

_Static_assert(REQUEST_DEADLINE_MS_MAX > PG_STATEMENT_MS_MAX,
               "a statement ends before its request");
_Static_assert(BUS_CALL_MS_MAX >= REQUEST_DEADLINE_MS_MAX,
               "a call may last as long as its request");
_Static_assert(HTTP_BODY_BYTES_MAX < BUS_PAYLOAD_BYTES_MAX,
               "a body and its envelope fit one message");
_Static_assert(BUS_PART_BYTES_MAX < BUS_PAYLOAD_BYTES_MAX, "a part fits one message");
_Static_assert(OWNER_TURN_MAX <= PG_BATCH_MAX, "what goes together fits one transaction");
_Static_assert(OWNER_WAITING_MAX + OWNER_TURN_MAX <= REQUESTS_MAX / 16,
               "one user's changes leave nearly all requests to others");
_Static_assert(STREAM_ACK_PENDING_MAX <= BUS_RING_MESSAGES, "unacked events fit the ring");
