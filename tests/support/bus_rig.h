#pragma once
/*
 * A loop with buses for tests: opens, runs until something holds or a time is over, closes
 * everything and proves that nothing is left. One rig per thread. The server is scratch_nats.
 */

#include "libcommon/io/bus.h"

#define BUS_RIG_BUSES 4

struct bus_rig {
    struct loop *loop;
    struct loop_timer *tick; /* bounds every sleep of the loop */
    struct bus *buses[BUS_RIG_BUSES];
    int ups[BUS_RIG_BUSES];
    int downs[BUS_RIG_BUSES];
    int bus_count;
};

void bus_rig_open(struct bus_rig *rig);
/* A bus of that name; user and password may be NULL. */
struct bus *
bus_rig_add(struct bus_rig *rig, const char *url, const char *name, uint32_t in_flight_max);
struct bus *
bus_rig_add_user(struct bus_rig *rig, const char *url, const char *user, const char *password);
/* With options of one's own, but for what tells the rig of the connection. */
struct bus *bus_rig_add_options(struct bus_rig *rig, const struct bus_options *options);
/* Runs turns until *flag >= wanted; false after `ms_max`. */
bool bus_rig_until(struct bus_rig *rig, const int *counter, int wanted, long ms_max);
/* All of them connected, and the server knows their subscriptions. Needs a place for one call each.
 */
bool bus_rig_until_up(struct bus_rig *rig, long ms_max);
void bus_rig_run(struct bus_rig *rig, long ms);
/* Closes buses that are not NULL, the loop, and asserts that the loop closes clean. */
void bus_rig_close(struct bus_rig *rig);

/* What a call came to. */
struct bus_outcome {
    int count;
    enum code code;
    size_t len;
    uint64_t hash; /* of all of it, hash_bytes() with seed 1 */
    char text[64]; /* the beginning */
};
void bus_rig_called(void *outcome, enum code code, struct str payload);
/* A bus_call with a deadline of five seconds; the code of the start or of the end. */
enum code bus_rig_ask(struct bus_rig *rig, struct bus *bus, const char *subject, const char *text);
/* Starts one; fails the test when that is refused. */
void bus_rig_call(struct bus *bus,
                  const char *subject,
                  struct str payload,
                  struct bus_outcome *outcome);
struct bus_subscription *bus_rig_subscribe(struct bus *bus,
                                           const char *subject,
                                           const char *queue,
                                           void (*handler)(void *ctx, struct bus_message *message),
                                           void *ctx);
void bus_rig_echo(void *bus, struct bus_message *message);      /* answers what was asked */
void bus_rig_count(void *counter, struct bus_message *message); /* an int */
/* For tables of cases: says which row gave which code. */
void bus_rig_expect(size_t row, enum code wanted, enum code got);
